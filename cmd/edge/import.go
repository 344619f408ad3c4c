package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/config"
	importer "github.com/edge-proxy/edge/config/import"
	"github.com/edge-proxy/edge/config/import/plan"
)

// importOptions are the flags of edge import.
type importOptions struct {
	program, out string
	files        []string
	json         bool
}

func newImport() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import " + strings.Join(importer.Programs(), "|") + " FILE...",
		Short: "Turn the configuration of another program into one of edge",
		Long: "Turn the configuration of another program into one of edge, which is printed or written to a file. " +
			"Each block names the lines that it comes from. What is not carried is listed on stderr, line by " +
			"line, and so is what a reader has to know.\n\nThe result is always one that edge check takes. " +
			"A route whose guards could not be carried answers 403.\n\n" +
			"Exit codes: 0 all is carried, 1 the file cannot be read, 2 something is not carried.",
		Example: "  edge import nginx /etc/nginx/nginx.conf -o edge.toml\n" +
			"  edge import caddy /etc/caddy/Caddyfile -o edge.toml\n" +
			"  edge import traefik traefik.yml dynamic.yml -o edge.toml",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return importer.Programs(), cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) > 2 && !importer.Several(args[0]) {
				return usage{cmd, errors.New("edge import takes a program and a file: edge import nginx nginx.conf")}
			}
			if !slices.Contains(importer.Programs(), args[0]) {
				known := strings.Join(importer.Programs(), ", ")
				return usage{cmd, fmt.Errorf("edge imports files of %s, not of %q", known, args[0])}
			}
			o.program, o.files = args[0], args[1:]
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.OutOrStdout(), cmd.ErrOrStderr()) },
	}
	cmd.Flags().StringVarP(&o.out, "output", "o", "", "the `file` to write; it must not be there yet")
	cmd.Flags().BoolVar(&o.json, "json", false, "print result and findings as JSON")
	return cmd
}

// imported is what --json prints.
type imported struct {
	Config   string            `json:"config"`
	Findings []importedFinding `json:"findings"`
}

// importedFinding is a line of the file that is not in the result as it was.
type importedFinding struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Lost bool   `json:"lost"`
	What string `json:"what"`
	Why  string `json:"why"`
}

// run reads, writes, and returns the exit code.
func (o *importOptions) run(out, problems io.Writer) error {
	p, err := importer.Import(o.program, o.files[0], &plan.Reader{}, o.files[1:]...)
	if err != nil {
		return err
	}
	text := p.Text(checkHere)
	if o.out != "" {
		if err := writeNew(o.out, text); err != nil {
			return err
		}
	}
	if err := o.print(out, problems, p, text); err != nil {
		return err
	}
	if p.Losses() > 0 {
		return exit(exitWarnings)
	}
	return nil
}

func (o *importOptions) print(out, problems io.Writer, p *plan.Plan, text []byte) error {
	if o.json {
		all := imported{Config: string(text), Findings: []importedFinding{}}
		for _, f := range p.Findings() {
			all.Findings = append(all.Findings, importedFinding{f.File, f.Line, f.Lost, f.What, f.Why})
		}
		return printJSON(out, all)
	}
	if o.out == "" {
		if _, err := out.Write(text); err != nil {
			return err
		}
	}
	for _, f := range p.Findings() {
		if _, err := fmt.Fprintln(problems, f); err != nil {
			return err
		}
	}
	return nil
}

// checkHere checks a text as edge check does on this machine, with the files that it names.
func checkHere(text []byte) *config.Report {
	dir, err := os.MkdirTemp("", "edge-import-")
	if err != nil {
		return plan.TextOnly(text)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "edge.toml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return plan.TextOnly(text)
	}
	_, report := config.Load(path)
	return report
}

// writeNew writes a file that is not there yet, for its owner alone: the text may hold passwords. One that could not be
// written whole is removed.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}
