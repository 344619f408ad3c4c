package main

import (
	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/config"
)

func newSchema() *cobra.Command {
	var markdown, asJSON bool
	cmd := &cobra.Command{
		Use:   "schema [--markdown]",
		Short: "Print all keys of the configuration for an editor, or as a page",
		Long: "Print all keys of the configuration as a JSON Schema, by which editors complete and check them, or as " +
			"the reference page.\n\nAn editor that knows the schema finds misspelt keys; edge check finds all else.",
		Example: "  edge schema > edge.schema.json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if markdown {
				return config.Reference(cmd.OutOrStdout())
			}
			return config.JSONSchema(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the reference page, docs/configuration.md")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the JSON Schema, as without a flag")
	cmd.MarkFlagsMutuallyExclusive("markdown", "json")
	return cmd
}
