package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

func newConfigEdit(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "edit",
		Short: "Edit all settings of the cluster in an editor",
		Long: "edit opens all settings as text in $VISUAL, $EDITOR or vi. A line that begins with # is a default; remove the # to set it, put it back to restore the default. " +
			"What was changed is checked together, and changes together or not at all. If it is refused, the text stays in a file.",
		Example: "  rootctl config edit\n  EDITOR=nano rootctl config edit",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := e.settings(cmd.Context())
			if err != nil {
				return err
			}
			path, err := e.edited(cmd.Context(), settingsText(list))
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			changes, err := e.apply(cmd.Context(), list, string(text))
			if err != nil {
				return &userError{err: err, hint: "nothing was changed; your text is in " + path}
			}
			_ = os.Remove(path) // a temporary file
			if e.output == "json" {
				return e.printJSON(changes)
			}
			if len(changes) == 0 {
				e.note("nothing changed")
			}
			for _, c := range changes {
				e.printf("%s = %s (was %s)\n", c.Key, orDefault(c.New), orDefault(c.Old))
			}
			return nil
		},
	}
}

// settingsText is all settings as a person edits them.
func settingsText(list []admin.Setting) string {
	var b strings.Builder
	b.WriteString("# Settings of the cluster: KEY = VALUE. A line with # before the key is a default.\n" +
		"# Places of prefixes: geo/10.0.0.0/8 = 52.37,4.89,25 Amsterdam, NL\n")
	for _, s := range list {
		mark := "#"
		if s.Explicit {
			mark = ""
		}
		fmt.Fprintf(&b, "\n# %s\n%s%s = %s\n", s.Help, mark, s.Key, s.Value)
	}
	return b.String()
}

// parseSettings reads what a person made of [settingsText].
func parseSettings(text string) (map[string]string, error) {
	set := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch _, twice := set[key]; {
		case !ok || key == "":
			return nil, fmt.Errorf("line %d: %q is not KEY = VALUE", n, line)
		case twice:
			return nil, fmt.Errorf("line %d: %s is there twice", n, key)
		case value == "":
			return nil, fmt.Errorf("line %d: %s has no value; put a # before it for the default", n, key)
		}
		set[key] = value
	}
	return set, lines.Err()
}

// apply changes what the text says otherwise than the list.
func (e *env) apply(ctx context.Context, list []admin.Setting, text string) ([]admin.SettingChange, error) {
	set, err := parseSettings(text)
	if err != nil {
		return nil, err
	}
	var differ []admin.SettingValue
	for _, s := range list {
		value, ok := set[s.Key]
		if ok != s.Explicit || ok && value != s.Value {
			differ = append(differ, admin.SettingValue{Key: s.Key, Value: value})
		}
		delete(set, s.Key)
	}
	for key, value := range set {
		differ = append(differ, admin.SettingValue{Key: key, Value: value})
	}
	if len(differ) == 0 {
		return []admin.SettingChange{}, nil
	}
	return ask(ctx, e, func(ctx context.Context, c *admin.Client) ([]admin.SettingChange, error) {
		return c.ChangeSettings(ctx, differ)
	})
}

// edited lets a person edit a text and returns the file with it.
func (e *env) edited(ctx context.Context, text string) (string, error) {
	f, err := os.CreateTemp("", "rootctl-config-*.txt")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", err
	}
	editor := "vi"
	for _, name := range []string{"EDITOR", "VISUAL"} {
		if v := e.getenv(name); v != "" {
			editor = v
		}
	}
	c := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", f.Name()) // an editor may have arguments
	c.Stdin, c.Stdout, c.Stderr = e.stdin, e.stdout, e.stderr
	if err := c.Run(); err != nil {
		return "", &userError{what: "editor " + editor, err: err, hint: "nothing was changed; choose another one with EDITOR"}
	}
	return f.Name(), nil
}

func newConfigHistory(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "history",
		Short:   "List the last changes of the settings",
		Long:    "history prints what the log remembers of changed settings, the newest first: the last hundred.",
		Example: "  rootctl config history\n  rootctl config history -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) ([]admin.SettingChange, error) {
				return c.SettingsHistory(ctx)
			})
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(list)
			}
			t := newTable(e.stdout, "TIME", "BY", "KEY", "BEFORE", "AFTER")
			for i := range list {
				c := &list[len(list)-1-i]
				t.row(c.Time.UTC().Format(time.DateTime), orDash(c.By), c.Key, orDefault(c.Old), orDefault(c.New))
			}
			t.flush()
			return nil
		},
	}
}

func orDefault(value string) string {
	if value == "" {
		return "default"
	}
	return value
}
