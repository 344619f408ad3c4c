package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var update = flag.Bool("update", false, "write the manual page anew")

const manFile = "../../packaging/man/edge.1"

// The manual page says what the commands say: go test ./cmd/edge -run Man -update writes it.
func TestMan_current(t *testing.T) {
	page := manPage(newRoot())
	if *update {
		if err := os.WriteFile(manFile, page, 0o644); err != nil { //nolint:gosec // everybody reads it
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(manFile)
	testutil.Must(t, err)
	if !bytes.Equal(have, page) {
		t.Errorf("%s is of other commands or flags: go test ./cmd/edge -run Man -update", manFile)
	}
}

// groff and mandoc find nothing to say about the page, and a reader sees each command.
func TestMan_formats(t *testing.T) {
	for _, f := range []struct {
		name string
		args []string
	}{
		{"groff", []string{"-man", "-Tutf8", "-ww", "-rLL=100n"}},
		{"mandoc", []string{"-man", "-Tlint", "-Wwarning"}},
		{"mandoc", []string{"-man", "-Tutf8"}},
	} {
		if _, err := exec.LookPath(f.name); err != nil {
			t.Logf("%s is not installed", f.name)
			continue
		}
		cmd := exec.Command(f.name, append(f.args, manFile)...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if slices.Contains(f.args, "-Tlint") {
			for line := range strings.Lines(stdout.String()) {
				if !strings.Contains(line, "missing date") { // with one, each day would make another page
					t.Error(line)
				}
			}
			continue
		}
		if err != nil || stderr.Len() > 0 {
			t.Errorf("%s %v: %v\n%s", f.name, f.args, err, &stderr)
		}
		text := plain(stdout.String())
		for _, c := range newRoot().Commands() {
			if !c.Hidden && !strings.Contains(text, "edge "+c.Name()) {
				t.Errorf("%s shows no edge %s", f.name, c.Name())
			}
		}
	}
}

// plain returns formatted text without its overstrikes and escapes.
func plain(text string) string {
	var b strings.Builder
	escape := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == 0x1b:
			escape = true
		case escape:
			escape = c != 'm'
		case i+1 < len(text) && text[i+1] == '\b':
			i++
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// What begins with a control character, or has a backslash or a hyphen, is shown as it is.
func TestMan_escapes(t *testing.T) {
	for text, want := range map[string]string{
		".TH x":        `\&.TH x`,
		"'quoted":      `\&'quoted`,
		`a\nb --json`:  `a\enb \-\-json`,
		"one\n.two":    "one\n\\&.two",
		"plain, again": "plain, again",
	} {
		if got := roff(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// manPage returns the page in the macros of man(7): one for all commands, since each is a few lines.
func manPage(root *cobra.Command) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`.\" Made by go test ./cmd/edge -run Man -update.`)
	line(`.TH EDGE 1 "" edge "User commands"`)
	line(".SH NAME\nedge \\- %s", roff(root.Short))
	line(".SH SYNOPSIS\n.B edge\n[\\fIcommand\\fR] [\\fIflags\\fR]")
	line(".SH DESCRIPTION")
	manText(&b, root.Long)
	line(".SH FLAGS")
	manFlags(&b, root)
	line(".SH COMMANDS")
	var all []*cobra.Command
	for _, c := range root.Commands() {
		if all = append(all, c); c.Name() != "completion" {
			all = append(all, c.Commands()...)
		}
	}
	for _, c := range all {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		line(".SS \"%s\"", roff(c.UseLine()))
		if c.Long != "" {
			manText(&b, c.Long)
		} else {
			manText(&b, c.Short)
		}
		manFlags(&b, c)
		if c.Example != "" {
			line(".PP\n.nf\n%s\n.fi", roff(strings.TrimRight(c.Example, "\n")))
		}
	}
	line(".SH EXIT STATUS")
	for _, s := range [][2]string{
		{"0", "All went well; a signal ended the process as it should."},
		{"1", "The configuration is wrong, or the process could not start, or what was asked for failed."},
		{"2", "Warnings were found with \\-\\-strict, or the command line is wrong."},
	} {
		line(".TP\n.B %s\n%s", s[0], s[1])
	}
	line(".SH FILES")
	for _, s := range [][2]string{
		{"/etc/edge/edge.toml", "The configuration, where no other one is named and none is in the working directory."},
		{"/var/lib/edge", "State: the internal authority of certificates."},
		{"/var/log/edge", "Logs, as packages are configured."},
		{"/run/edge", "Sockets and the pid file, as packages are configured."},
	} {
		line(".TP\n.I %s\n%s", s[0], s[1])
	}
	line(".SH SEE ALSO\n.BR systemctl (1),\n.BR journalctl (1)")
	return b.Bytes()
}

func manFlags(b *bytes.Buffer, c *cobra.Command) {
	c.InitDefaultHelpFlag()
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, text := pflag.UnquoteUsage(f)
		name := "\\fB\\-\\-" + roff(f.Name) + "\\fR"
		if f.Shorthand != "" {
			name = "\\fB\\-" + f.Shorthand + "\\fR, " + name
		}
		if value != "" {
			name += " \\fI" + roff(value) + "\\fR"
		}
		fmt.Fprintf(b, ".TP\n%s\n%s\n", name, roff(text))
	})
}

// manText writes paragraphs below a heading. Lines that are indented are shown as they are.
func manText(b *bytes.Buffer, text string) {
	shown, begun := false, true
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		line = strings.TrimRight(line, "\n")
		if indented := strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "\t"); indented != shown && line != "" {
			shown = indented
			b.WriteString(map[bool]string{true: ".PP\n.nf\n", false: ".fi\n"}[shown])
			begun = false
		}
		switch {
		case line != "":
			if !begun && !shown {
				b.WriteString(".PP\n")
			}
			b.WriteString(roff(line) + "\n")
			begun = true
		case !shown:
			begun = false
		}
	}
	if shown {
		b.WriteString(".fi\n")
	}
}

// roff returns text as roff shows it.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
