package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Invocation is what the command line asks for.
type Invocation struct {
	Config  Config
	File    string // configuration file, "" if none was named
	Check   bool   // only check the configuration
	Version bool   // only print the version
}

// Mistake is one thing wrong with the configuration.
type Mistake struct {
	Where string // "rootd.toml:12" or "-listen"
	Key   string // the setting; "" when the text could not be read at all
	What  string // what is wrong, and the way out
}

// ConfigError is every mistake in the configuration, in the order of the file, flags last.
type ConfigError []Mistake

// Error returns one line per mistake.
func (e ConfigError) Error() string {
	lines := make([]string, len(e))
	for i, m := range e {
		lines[i] = m.Where + ": "
		if m.Key != "" && !strings.HasPrefix(m.Where, "-") {
			lines[i] += m.Key + ": "
		}
		lines[i] += m.What
	}
	return strings.Join(lines, "\n")
}

// ParseArgs reads the command line and the file it names: defaults, then the file, then flags. All mistakes come
// together in one [ConfigError]. It writes the help to usage and returns [flag.ErrHelp] when asked for it.
func ParseArgs(args []string, usage io.Writer) (*Invocation, error) {
	inv := &Invocation{Config: DefaultConfig()}
	l := loader{settings: settings(), where: map[string]string{}}

	flags := flag.NewFlagSet("rootd", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&inv.File, "config", "", "")
	flags.BoolVar(&inv.Check, "check", false, "")
	flags.BoolVar(&inv.Version, "version", false, "")
	var given []givenFlag
	for _, s := range l.settings {
		set := func(text string) error { given = append(given, givenFlag{s, text}); return nil }
		if _, isBool := s.field(&inv.Config).(*bool); isBool {
			flags.BoolFunc(s.flag(), s.help, set)
		} else {
			flags.Func(s.flag(), s.help, set)
		}
	}
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		writeUsage(usage)
		return nil, flag.ErrHelp
	case err != nil:
		return nil, fmt.Errorf("%w (rootd -help lists the flags)", err)
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q: settings are flags, rootd -help lists them", flags.Arg(0))
	}

	if inv.File != "" {
		if err := l.file(inv.File, &inv.Config); err != nil {
			return nil, err
		}
	}
	l.flags(given, &inv.Config)
	l.check(&inv.Config)
	if len(l.mistakes) > 0 {
		return nil, l.mistakes
	}
	return inv, nil
}

type givenFlag struct {
	setting setting
	text    string
}

// loader collects mistakes and remembers where each setting came from.
type loader struct {
	settings []setting
	where    map[string]string // key to "rootd.toml:12" or "-listen"
	mistakes ConfigError
	broken   []string // keys already complained about
}

func (l *loader) mistake(where, key, what string) {
	l.mistakes = append(l.mistakes, Mistake{Where: where, Key: key, What: what})
	l.broken = append(l.broken, key)
}

// file reads the file into c. The error is for a file that cannot be read; mistakes inside are collected.
func (l *loader) file(path string, c *Config) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read configuration: %w (start from scripts/rootd.toml, or run without -config)", err)
	} else if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	l.parse(path, string(data), c)
	return nil
}

func (l *loader) parse(path, data string, c *Config) {
	var top map[string]toml.Primitive
	md, err := toml.Decode(data, &top)
	if err != nil {
		if pe, ok := errors.AsType[toml.ParseError](err); ok {
			l.mistake(fmt.Sprintf("%s:%d", path, pe.Position.Line), "", pe.Message)
			return
		}
		l.mistake(path, "", err.Error())
		return
	}
	l.table(path, "", &md, top, c)
}

// order sorts mistakes by their lines in the file, then those of flags and defaults.
func order(a, b Mistake) int { return cmp.Compare(lineOf(a.Where), lineOf(b.Where)) }

func lineOf(where string) int {
	if i := strings.LastIndexByte(where, ':'); i >= 0 {
		if line, err := strconv.Atoi(where[i+1:]); err == nil {
			return line
		}
	}
	return math.MaxInt
}

// table sets what a table of the file holds, and goes into the tables below it.
func (l *loader) table(path, prefix string, md *toml.MetaData, table map[string]toml.Primitive, c *Config) {
	for name, prim := range table {
		key := prefix + name
		value, line := locate(md, prim)
		where := fmt.Sprintf("%s:%d", path, line)
		if i := slices.IndexFunc(l.settings, func(s setting) bool { return s.key == key }); i >= 0 {
			l.where[key] = where
			if err := setTOML(l.settings[i].field(c), value); err != nil {
				l.mistake(where, key, oneLine(err))
			}
			continue
		}
		_, isTable := value.(map[string]any)
		isSection := slices.ContainsFunc(l.settings, func(s setting) bool { return strings.HasPrefix(s.key, key+".") })
		var below map[string]toml.Primitive
		switch {
		case isTable && isSection && md.PrimitiveDecode(prim, &below) == nil:
			l.table(path, key+".", md, below, c)
		case isSection:
			l.mistake(where, key, fmt.Sprintf("is a section: write [%s] and its settings below", key))
		default:
			l.mistake(where, key, "unknown setting"+l.suggest(key))
		}
	}
}

// located takes any TOML value; its error makes the decoder tell the position.
type located struct{ value any }

var errLocated = errors.New("located")

// UnmarshalTOML keeps the value and always fails.
func (p *located) UnmarshalTOML(v any) error { p.value = v; return errLocated }

// locate returns the value behind prim and the line it stands on.
func locate(md *toml.MetaData, prim toml.Primitive) (any, int) {
	var p located
	if pe, ok := errors.AsType[toml.ParseError](md.PrimitiveDecode(prim, &p)); ok {
		return p.value, pe.Position.Line
	}
	return p.value, 0
}

func (l *loader) flags(given []givenFlag, c *Config) {
	for _, g := range given {
		where := "-" + g.setting.flag()
		l.where[g.setting.key] = where
		if err := setText(g.setting.field(c), g.text); err != nil {
			l.mistake(where, g.setting.key, oneLine(err))
		}
	}
}

// check applies the rules to everything that could be read.
func (l *loader) check(c *Config) {
	complain := func(key, what string) {
		if what == "" || slices.Contains(l.broken, key) {
			return
		}
		where, ok := l.where[key]
		if !ok {
			where = "default"
		}
		l.mistake(where, key, what)
	}
	for _, s := range l.settings {
		if s.check != nil {
			complain(s.key, s.check(s.field(c)))
		}
	}
	complain(c.check())
	slices.SortStableFunc(l.mistakes, order)
}

// suggest names the known setting nearest to an unknown key.
func (l *loader) suggest(key string) string {
	best, distance := "", len(key)/2+1
	for _, s := range l.settings {
		_, last, _ := strings.Cut(s.key, ".")
		if last == key {
			return fmt.Sprintf(": did you mean %s? (it belongs in its section)", s.key)
		}
		if d := editDistance(key, s.key); d < distance {
			best, distance = s.key, d
		}
	}
	if best == "" {
		return ": rootd -help lists them all"
	}
	return fmt.Sprintf(": did you mean %s?", best)
}

// editDistance is the Levenshtein distance of two short keys.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
