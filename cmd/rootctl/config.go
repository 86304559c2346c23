package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/transport/admin"
)

func newConfig(e *env) *cobra.Command {
	return group("config", "Get and set the settings of the cluster",
		"These settings live in the log and hold for all members. What belongs to one machine stands in its rootd.toml.",
		newConfigList(e), newConfigGet(e), newConfigSet(e), newConfigEdit(e), newConfigHistory(e))
}

func (e *env) settings(ctx context.Context) ([]admin.Setting, error) {
	return ask(ctx, e, func(ctx context.Context, c *admin.Client) ([]admin.Setting, error) { return c.Settings(ctx) })
}

func newConfigList(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the settings, their values and what they mean",
		Example: "  rootctl config list\n  rootctl config list -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := e.settings(cmd.Context())
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(list)
			}
			t := newTable(e.stdout, "KEY", "VALUE", "DEFAULT", "MEANING")
			for _, s := range list {
				t.row(s.Key, s.Value, s.Default, s.Help)
			}
			t.flush()
			return nil
		},
	}
}

func newConfigGet(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "get KEY",
		Short:             "Print one setting's value",
		Example:           "  rootctl config get voters\n  rootctl config get voters -o json",
		Args:              wantArgs("KEY"),
		ValidArgsFunction: e.completeSettings,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := e.settings(cmd.Context())
			if err != nil {
				return err
			}
			for _, s := range list {
				switch {
				case s.Key != args[0]:
				case e.output == "json":
					return e.printJSON(s)
				default:
					e.printf("%s\n", s.Value)
					return nil
				}
			}
			return &userError{what: "there is no setting " + args[0], hint: "see rootctl config list"}
		},
	}
}

func newConfigSet(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "set KEY VALUE",
		Short:             "Change one setting for the whole cluster",
		Long:              "set changes a setting for all members, at one place in the log. The value \"default\" restores the default.",
		Example:           "  rootctl config set voters 3\n  rootctl config set member_down_after 1m\n  rootctl config set voters default",
		Args:              wantArgs("KEY", "VALUE"),
		ValidArgsFunction: e.completeSettings,
		RunE: func(cmd *cobra.Command, args []string) error {
			value := args[1]
			if value == "" {
				return usageError("VALUE is empty: write default to restore the default")
			}
			if value == "default" {
				value = ""
			}
			s, err := ask(cmd.Context(), e, func(ctx context.Context, c *admin.Client) (*admin.Setting, error) {
				return c.SetSetting(ctx, args[0], value)
			})
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.printJSON(s)
			}
			e.printf("%s = %s\n", s.Key, s.Value)
			return nil
		},
	}
}

// completeSettings offers keys while the operator types; it never complains.
func (e *env) completeSettings(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || cmd.Context() == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, _ := e.settings(cmd.Context())
	var out []string
	for _, s := range list {
		if strings.HasPrefix(s.Key, typed) {
			out = append(out, s.Key+"\t"+s.Help)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
