package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// printJSON writes v indented, as -o json promises.
func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printf writes to standard output. A reader that went away (head, less) is no error worth telling.
func (e *env) printf(format string, a ...any) { fmt.Fprintf(e.stdout, format, a...) }

// note writes a line for people to standard error, so that standard output stays clean for pipes.
func (e *env) note(format string, a ...any) { fmt.Fprintf(e.stderr, format+"\n", a...) }

// table writes aligned columns; the first row is the header. Rows are aligned in blocks, so that long lists stream.
type table struct {
	w    *tabwriter.Writer
	rows int
}

// blockRows is how many rows are aligned together.
const blockRows = 2000

func newTable(w io.Writer, header ...string) *table {
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(header...)
	return t
}

func (t *table) row(cells ...string) {
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
	if t.rows++; t.rows%blockRows == 0 {
		_ = t.w.Flush() // see printf
	}
}

func (t *table) flush() { _ = t.w.Flush() }

// fields writes "label  value" lines, skipping empty values.
func (e *env) fields(pairs ...string) {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", pairs[i], pairs[i+1])
		}
	}
	_ = w.Flush() // see printf
}

// ago says how long before now t was.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(now.Sub(t)) + " ago"
}

// span is a duration with at most two units.
func span(d time.Duration) string {
	d = max(0, d)
	switch s := int64(d / time.Second); {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh %dm", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%dd %dh", s/86400, s%86400/3600)
	}
}

// count groups digits by three: 1,234,567.
func count[T int | int64 | uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// bytesText is a size with one unit.
func bytesText[T int64 | uint64](n T) string {
	const units = "KMGT"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, u := float64(n)/1024, 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	return fmt.Sprintf("%.1f %ciB", v, units[u])
}

// rate is a number per second.
func rate(v float64) string {
	if v != 0 && v < 10 {
		return fmt.Sprintf("%.1f/s", v)
	}
	return count(int64(v+0.5)) + "/s"
}

// orDash shows that there is nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// bitRate is bytes per second, shown in bits.
func bitRate(bytesPerSecond float64) string {
	b := bytesPerSecond * 8
	switch {
	case b >= 1e9:
		return fmt.Sprintf("%.1f Gbit/s", b/1e9)
	case b >= 1e6:
		return fmt.Sprintf("%.1f Mbit/s", b/1e6)
	default:
		return fmt.Sprintf("%.0f kbit/s", b/1e3)
	}
}

func joinAddrs(aps []netip.AddrPort) string {
	parts := make([]string, len(aps))
	for i, ap := range aps {
		parts[i] = ap.String()
	}
	return strings.Join(parts, " ")
}

// marshalLine is v as JSON on one line.
func marshalLine(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
