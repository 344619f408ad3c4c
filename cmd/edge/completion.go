package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/config"
)

var errNoShell = errors.New("edge completion takes bash, zsh, fish or powershell")

// complete says what a shell may complete, below root, beside commands and flags.
func complete(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	if shells, _, err := root.Find([]string{"completion"}); err == nil {
		shells.Args = cobra.ArbitraryArgs
		shells.RunE = func(cmd *cobra.Command, _ []string) error { return usage{cmd, errNoShell} }
	}
	const noFile = cobra.ShellCompDirectiveNoFileComp
	extensions := []string{"toml", "yaml", "yml", "json"}
	files := cobra.FixedCompletions(extensions, cobra.ShellCompDirectiveFilterFileExt)
	none := cobra.FixedCompletions(nil, noFile)
	values := map[string]cobra.CompletionFunc{
		"conf": files, "set": completeKeys, "from": none, "to": none, "listen": none,
		"tls":     cobra.FixedCompletions([]string{tlsInternal, tlsNone}, noFile),
		"signal":  cobra.FixedCompletions(letterWords, noFile),
		"request": cobra.FixedCompletions([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, noFile),
		"header":  none, "client-ip": none, "with": none,
	}
	for _, cmd := range append(root.Commands(), root) {
		if cmd.ValidArgsFunction == nil {
			cmd.ValidArgsFunction = none
		}
		if strings.HasSuffix(cmd.Use, "[FILE]") {
			cmd.ValidArgsFunction = files
		} else if strings.HasSuffix(cmd.Use, "[FILE...]") { // of edge fmt
			cmd.ValidArgsFunction = cobra.FixedCompletions([]string{"toml"}, cobra.ShellCompDirectiveFilterFileExt)
		}
		for name, f := range values {
			if cmd.Flags().Lookup(name) != nil {
				_ = cmd.RegisterFlagCompletionFunc(name, f) // it fails where there is one already
			}
		}
	}
}

// completeKeys completes the key of --set key=value.
func completeKeys(_ *cobra.Command, _ []string, begun string) (all []string, _ cobra.ShellCompDirective) {
	for _, key := range config.Keys() {
		if strings.HasPrefix(key, begun) {
			all = append(all, key+"=")
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
