package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rootd/rootd/geo"
)

// Bytes is a number of bytes, written as a plain number or with one of the units KiB, MiB, GiB.
type Bytes int64

// String returns the number with the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

var byteUnits = [...]struct {
	name string
	size Bytes
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func parseBytes(s string) (Bytes, error) {
	size := Bytes(1)
	number := s
	for _, u := range byteUnits {
		if n, ok := strings.CutSuffix(s, u.name); ok {
			number, size = strings.TrimSpace(n), u.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(size) {
		return 0, fmt.Errorf("%q is not a number of bytes, such as 4194304, 512KiB or 4MiB", s)
	}
	return Bytes(n) * size, nil
}

// kind names what a setting takes, for messages and documentation. p is a pointer to the field.
func kind(p any) string {
	switch p.(type) {
	case *string:
		return "text"
	case *bool:
		return "true or false"
	case *int:
		return "number"
	case *float64:
		return "number"
	case *uint64:
		return "hex digits"
	case *Bytes:
		return "bytes"
	case *time.Duration:
		return "duration"
	case *slog.Level:
		return "level"
	case *netip.AddrPort:
		return "address:port"
	case *[]netip.AddrPort:
		return "list of address:port"
	case *[]geo.Override:
		return "list of prefix and place"
	}
	panic(fmt.Sprintf("setting of type %T", p))
}

// setText sets *p from text as given to a flag. Lists are separated by commas, those of places by semicolons.
func setText(p any, s string) error {
	var err error
	switch p := p.(type) {
	case *string:
		*p = s
	case *bool:
		if *p, err = strconv.ParseBool(s); err != nil {
			return fmt.Errorf("%q is not true or false", s)
		}
	case *int:
		if *p, err = strconv.Atoi(s); err != nil {
			return fmt.Errorf("%q is not a whole number", s)
		}
	case *float64:
		if *p, err = strconv.ParseFloat(s, 64); err != nil || math.IsNaN(*p) || math.IsInf(*p, 0) {
			return fmt.Errorf("%q is not a number", s)
		}
	case *uint64:
		*p, err = parseWorldID(s)
	case *Bytes:
		*p, err = parseBytes(s)
	case *time.Duration:
		*p, err = parseDuration(s)
	case *slog.Level:
		if err = p.UnmarshalText([]byte(s)); err != nil {
			return fmt.Errorf("%q is not a level: use debug, info, warn or error", s)
		}
	case *netip.AddrPort:
		if s == "" || s == "off" {
			*p = netip.AddrPort{}
			return nil
		}
		*p, err = parseAddrPort(s)
	case *[]netip.AddrPort:
		*p = nil
		if strings.TrimSpace(s) == "" {
			return nil
		}
		for part := range strings.SplitSeq(s, ",") {
			ap, e := parseAddrPort(strings.TrimSpace(part))
			if e != nil {
				err = errors.Join(err, e)
				continue
			}
			*p = append(*p, ap)
		}
	case *[]geo.Override:
		*p, err = parseOverrides(s)
	default:
		panic(fmt.Sprintf("setting of type %T", p))
	}
	return err
}

// setTOML sets *p from a value as the TOML decoder returns it.
func setTOML(p, v any) error {
	switch v := v.(type) {
	case string:
		switch p.(type) {
		case *bool, *int, *float64:
			return fmt.Errorf("needs a %s, without quotes", kind(p))
		case *[]netip.AddrPort, *[]geo.Override:
			return fmt.Errorf(`needs a list: [%q]`, v)
		}
		return setText(p, v)
	case bool:
		if p, ok := p.(*bool); ok {
			*p = v
			return nil
		}
	case int64:
		switch p.(type) {
		case *int, *float64, *Bytes:
			return setText(p, strconv.FormatInt(v, 10))
		case *time.Duration:
			if v == 0 {
				return setText(p, "0s")
			}
			return fmt.Errorf(`needs a unit: "%ds" or "%dm"`, v, v)
		}
	case float64:
		if _, ok := p.(*float64); ok {
			return setText(p, strconv.FormatFloat(v, 'g', -1, 64))
		}
	case []any:
		separator := ","
		switch p.(type) {
		case *[]netip.AddrPort:
		case *[]geo.Override:
			separator = ";"
		default:
			return fmt.Errorf("needs %s", cmp.Or(exampleOf(p), "a "+kind(p)))
		}
		parts := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return fmt.Errorf("entry %d of the list is not text in quotes", i+1)
			}
			parts[i] = s
		}
		return setText(p, strings.Join(parts, separator))
	}
	if example := exampleOf(p); example != "" {
		return fmt.Errorf("needs %s", example)
	}
	return fmt.Errorf("needs a %s", kind(p))
}

func exampleOf(p any) string {
	switch p.(type) {
	case *string:
		return "text in quotes"
	case *uint64:
		return "hexadecimal digits in quotes"
	case *Bytes:
		return `bytes: a number, or text such as "4MiB"`
	case *time.Duration:
		return `a duration in quotes, such as "25s"`
	case *slog.Level:
		return `a level in quotes: "debug", "info", "warn" or "error"`
	case *netip.AddrPort:
		return `an address and port in quotes, such as "127.0.0.1:9994"`
	case *[]netip.AddrPort:
		return `a list of addresses with ports, such as ["0.0.0.0:9993", "[::]:9993"]`
	case *[]geo.Override:
		return `a list of places, such as ["10.0.0.0/8 52.37,4.89 Amsterdam, NL"]`
	}
	return ""
}

// text is the inverse of setText.
func text(p any) string {
	switch p := p.(type) {
	case *string:
		return *p
	case *bool:
		return strconv.FormatBool(*p)
	case *int:
		return strconv.Itoa(*p)
	case *float64:
		return strconv.FormatFloat(*p, 'g', -1, 64)
	case *uint64:
		if *p == 0 {
			return ""
		}
		return fmt.Sprintf("%016x", *p)
	case *Bytes:
		return p.String()
	case *time.Duration:
		return shortDuration(*p)
	case *slog.Level:
		return strings.ToLower(p.String())
	case *netip.AddrPort:
		if !p.IsValid() {
			return ""
		}
		return p.String()
	case *[]netip.AddrPort:
		parts := make([]string, len(*p))
		for i, ap := range *p {
			parts[i] = ap.String()
		}
		return strings.Join(parts, ",")
	case *[]geo.Override:
		parts := make([]string, len(*p))
		for i, o := range *p {
			parts[i] = o.String()
		}
		return strings.Join(parts, "; ")
	}
	panic(fmt.Sprintf("setting of type %T", p))
}

// textTOML is the value of *p as it stands in a configuration file.
func textTOML(p any) string {
	switch p := p.(type) {
	case *bool, *int, *float64:
		return text(p)
	case *[]netip.AddrPort:
		parts := make([]string, len(*p))
		for i, ap := range *p {
			parts[i] = strconv.Quote(ap.String())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case *[]geo.Override:
		parts := make([]string, len(*p))
		for i, o := range *p {
			parts[i] = strconv.Quote(o.String())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return strconv.Quote(text(p))
}

// parseOverrides reads a list of places. Two for the same prefix are a mistake.
func parseOverrides(s string) (list []geo.Override, err error) {
	for part := range strings.SplitSeq(s, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		o, e := geo.ParseOverride(part)
		switch {
		case e != nil:
			err = errors.Join(err, e)
		case slices.ContainsFunc(list, func(other geo.Override) bool { return other.Prefix == o.Prefix }):
			err = errors.Join(err, fmt.Errorf("%s is there twice", o.Prefix))
		default:
			list = append(list, o)
		}
	}
	return list, err
}

func parseAddrPort(s string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(s)
	if err == nil {
		if ap.Addr().Zone() != "" {
			return netip.AddrPort{}, fmt.Errorf("%q names an interface: use an address without a zone", s)
		}
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
	}
	if a, e := netip.ParseAddr(strings.Trim(s, "[]")); e == nil {
		return netip.AddrPort{}, fmt.Errorf("%q has no port: write %s", s, netip.AddrPortFrom(a, 9993))
	}
	return netip.AddrPort{}, fmt.Errorf("%q is not an IP address with a port, such as 203.0.113.5:9993 or [2001:db8::5]:9993", s)
}

func parseWorldID(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	v, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
	if err != nil || v == 0 {
		return 0, fmt.Errorf("%q is not a world ID (up to 16 hexadecimal digits, not 0)", s)
	}
	return v, nil
}

func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err == nil && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration, such as 500ms, 25s, 10m, 6h or 30d", s)
	}
	return d, nil
}

func shortDuration(d time.Duration) string {
	if d != 0 && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
