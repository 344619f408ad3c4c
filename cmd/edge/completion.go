package main

import (
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/config"
)

// bareBash stands in for the package bash-completion, where that is missing: words up to the cursor, and no choice
// among files, which leaves it to bash.
const bareBash = `
__edge_init_completion() {
    local line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    [[ $line != *' ' ]] || words+=("")
    cword=$((${#words[@]} - 1))
    cur=${words[cword]}
    declare -F _filedir >/dev/null || _filedir() { :; }
}
`

var errNoShell = errors.New("edge completion takes bash, zsh, fish or powershell")

// complete says what a shell may complete, below root, beside commands and flags.
func complete(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	if shells, _, err := root.Find([]string{"completion"}); err == nil {
		shells.Args = cobra.ArbitraryArgs
		shells.RunE = func(cmd *cobra.Command, _ []string) error { return usage{cmd, errNoShell} }
	}
	if bash, _, err := root.Find([]string{"completion", "bash"}); err == nil {
		bash.Long, _, _ = strings.Cut(bash.Long, "\nThis script depends on")
		bash.PostRunE = func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), bareBash)
			return err
		}
	}
	const noFile = cobra.ShellCompDirectiveNoFileComp
	extensions := []string{"toml", "yaml", "yml", "json"}
	files := cobra.FixedCompletions(extensions, cobra.ShellCompDirectiveFilterFileExt)
	none := cobra.FixedCompletions(nil, noFile)
	values := map[string]cobra.CompletionFunc{
		"conf": files, "set": completeKeys, "from": none, "to": none, "listen": none,
		"tls":     cobra.FixedCompletions([]string{tlsInternal, tlsAuto, tlsNone}, noFile),
		"signal":  cobra.FixedCompletions(letterWords, noFile),
		"request": cobra.FixedCompletions([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, noFile),
		"header":  none, "client-ip": none, "with": none,
	}
	all := append(root.Commands(), root)
	for _, cmd := range root.Commands() {
		all = append(all, cmd.Commands()...)
	}
	for _, cmd := range all {
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

func completeKeys(_ *cobra.Command, _ []string, begun string) (all []string, _ cobra.ShellCompDirective) {
	for _, key := range config.Keys() {
		if strings.HasPrefix(key, begun) {
			all = append(all, key+"=")
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
