package main

import "github.com/spf13/cobra"

func newCompletion(e *env) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that completes rootctl's commands, flags and peer addresses",
		Example: "  rootctl completion bash > /etc/bash_completion.d/rootctl\n" +
			"  rootctl completion zsh > \"${fpath[1]}/_rootctl\"\n" +
			"  rootctl completion fish > ~/.config/fish/completions/rootctl.fish",
		Args:      wantArgs("SHELL"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(e.stdout, true)
			case "zsh":
				return root.GenZshCompletion(e.stdout)
			case "fish":
				return root.GenFishCompletion(e.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(e.stdout)
			}
			return usageError("shell %q: choose bash, zsh, fish or powershell", args[0])
		},
	}
}
