package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/filter/basicauth"
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
	cmd.Flags().BoolVar(&markdown, "markdown", false,
		"print the reference of all keys, docs/configuration.md and docs/config, as one page")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the JSON Schema, as without a flag")
	cmd.MarkFlagsMutuallyExclusive("markdown", "json")
	return cmd
}

func newHashPassword() *cobra.Command {
	kind, user := string(basicauth.Argon2id), ""
	cmd := &cobra.Command{
		Use:   "hash-password",
		Short: "Make a hash of a password, for filters of the type basic_auth",
		Long: "Make a hash of a password, as filters of the type basic_auth take it. The password is typed, or is " +
			"the first line of the standard input: arguments of a program can be seen by others.",
		Example: "  edge hash-password --user ann >> /etc/edge/users",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := readPassword(cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			hash, err := basicauth.Hash(basicauth.Kind(kind), password)
			if err != nil {
				return err
			}
			if user != "" {
				if hash, err = basicauth.Line(user, hash); err != nil {
					return err
				}
			}
			fmt.Fprintln(cmd.OutOrStdout(), hash)
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "type", kind,
		"the `kind` of hash: argon2id, or bcrypt for programs that know no other")
	cmd.Flags().StringVar(&user, "user", "", "print a line of a file of users, with this `name`")
	return cmd
}
