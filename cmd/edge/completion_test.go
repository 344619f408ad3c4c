package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestCompletion_values(t *testing.T) {
	const files, words, keys = ":8", ":4", ":6" // the directives of cobra
	for args, want := range map[string]string{
		"proxy --tls ": "internal auto off " + words, "-s ": "reload stop quit reopen test " + words,
		"run ": "toml yaml yml json " + files, "check -c ": "toml yaml yml json " + files,
		"-c ": "toml yaml yml json " + files, "stop ": "toml yaml yml json " + files,
		"run --set http.lis": "http.listen= " + keys, "run --set log_l": "log_level= " + keys,
		"check --set global.pid": "global.pid_file= " + keys, "run --set routes": keys, "version ": words,
		"fmt ": "toml " + files, "fmt -c ": "toml yaml yml json " + files,
		"import ": "caddy haproxy nginx pingora traefik " + words,
	} {
		if code, out := edge(t, append([]string{"__complete"}, strings.Split(args, " ")...)...); code != 0 ||
			!strings.HasPrefix(strings.Join(strings.Fields(out), " "), want+" Completion") {
			t.Errorf("%q: %d %s", args, code, out)
		}
	}
}

// Each shell has a script, which --help lists; bash takes its one.
func TestCompletion_scripts(t *testing.T) {
	t.Parallel()
	commands(t, "", command{"--help", 0, " completion "})
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		commands(t, "", command{"completion " + shell, 0, "__complete"})
	}
	commands(t, "", command{"completion", 2, "takes bash, zsh"}, command{"completion tcsh", 2, "takes bash, zsh"})
	bash, err := exec.LookPath("bash") // here without the package bash-completion
	if err != nil {
		t.Skip(err)
	}
	out, err := exec.Command(bash, "--norc", "-c", `source <("$0" completion bash) && complete -p edge`,
		testutil.Binary(t, "./cmd/edge")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "__start_edge edge") {
		t.Errorf("bash: %v %s", err, out)
	}
	for line, want := range map[string]string{
		"edge up": "upgrade upstreams", "edge proxy --tls i": "internal", "edge check -c ed": "",
		"edge run --set global.pid": "global.pid_file=", "edge completion ": "bash fish powershell zsh",
	} {
		out, err := exec.Command(bash, "--norc", "--noprofile", "-c", `program=$0
source <("$program" completion bash)
edge() { "$program" "$@"; }
compopt() { :; } # bash has it for the key TAB alone
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
__start_edge
printf '%s\n' "${COMPREPLY[@]%% *}"`, testutil.Binary(t, "./cmd/edge"), line).CombinedOutput()
		if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != want {
			t.Errorf("bash: %q: %v %s, want %q", line, err, out, want)
		}
	}
}
