package main

import (
	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/build"
)

func newVersion(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of rootctl",
		Example: "  rootctl version\n  rootctl version -o json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			info := build.Current()
			if e.output == "json" {
				return e.printJSON(info)
			}
			e.printf("rootctl %s\n", info)
			return nil
		},
	}
}
