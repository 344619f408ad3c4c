package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	imports "github.com/edge-proxy/edge/cmd/edge-import/internal/importer"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/base/build"
	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/base/safeopen"
	"github.com/edge-proxy/edge/internal/config"
	_ "github.com/edge-proxy/edge/internal/config/caching" // its keys
	"github.com/edge-proxy/edge/internal/config/format"
	"github.com/edge-proxy/edge/internal/config/syntax"
	_ "github.com/edge-proxy/edge/internal/filter/builtin" // the types of filters that edge has
	_ "github.com/edge-proxy/edge/internal/filter/static"  // and its type of destinations
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

// Exit codes; the doc of the package explains them.
const (
	exitError = 1
	exitLost  = 2
)

var (
	errLost  = errors.New("something is not carried")
	errUsage = errors.New("edge import --help lists its flags")
)

// name is the name of the command, by which most people run it.
const name = "edge import"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the command. It returns the exit code.
func run(args []string, out, problems io.Writer) int {
	cmd := newImport()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(problems)
	err := cmd.Execute()
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errLost):
		return exitLost
	}
	_, _ = fmt.Fprintln(problems, name+": "+printable.Text(err.Error()))
	if errors.Is(err, errUsage) {
		return exitLost
	}
	return exitError
}

type importOptions struct {
	program, out, state string
	files               []string
	json                bool
}

func newImport() *cobra.Command {
	var o importOptions
	wrong := func(err error) error { return fmt.Errorf("%w\n%w", err, errUsage) }
	cmd := &cobra.Command{
		Use:   "edge-import " + strings.Join(imports.Programs(), "|") + " FILE...",
		Short: "Turn the configuration of another program into one of edge",
		Long: "Turn the configuration of another program into one of edge, which is printed or written to a file. " +
			"Each block names the lines that it comes from. What is not carried is listed on stderr, line by " +
			"line, and so is what a reader has to know.\n\nThe result is always a file that edge check takes. " +
			"A route whose guards could not be carried answers 403.\n\n" +
			"Exit codes: 0 all is carried, 1 the file cannot be read, 2 something is not carried.",
		Example: "  edge import nginx /etc/nginx/nginx.conf -o edge.toml\n" +
			"  edge import caddy /etc/caddy/Caddyfile -o edge.toml\n" +
			"  edge import traefik traefik.yml dynamic.yml --state /var/lib/edge/acme -o edge.toml",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: name},
		Version:       build.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return imports.Programs(), cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) > 2 && !imports.Several(args[0]) {
				return wrong(errors.New("it takes a program and a file: edge import nginx nginx.conf"))
			}
			if !slices.Contains(imports.Programs(), args[0]) {
				known := strings.Join(imports.Programs(), ", ")
				return wrong(fmt.Errorf("it reads files of %s, not of %q", known, args[0]))
			}
			if o.state != "" && !slices.Contains([]string{"caddy", "traefik"}, args[0]) {
				return wrong(fmt.Errorf("--state is for the certificates of Caddy and Traefik, %s has none", args[0]))
			}
			o.program, o.files = args[0], args[1:]
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.OutOrStdout(), cmd.ErrOrStderr()) },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return wrong(err) })
	cmd.Flags().StringVarP(&o.out, "output", "o", "", "the `file` to write; it must not be there yet")
	cmd.Flags().StringVar(&o.state, "state", "", "the `folder` of ordered certificates: storage of [acme]. That of "+
		"Caddy is used as it is, those of Traefik are written to it")
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

// run reads and writes. The error is errLost where something is not carried.
func (o *importOptions) run(out, problems io.Writer) error {
	for i, file := range o.files { // what the result names of files beside it holds in any working directory
		path, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		o.files[i] = path
	}
	p, err := imports.Import(o.program, o.files[0], &plan.Reader{}, o.files[1:]...)
	if err != nil {
		return err
	}
	if err := o.keep(p); err != nil {
		return err
	}
	text := p.Text(checkHere)
	if formatted, report := format.TOML(&syntax.Source{Name: "edge.toml", Text: text}); report.OK() {
		text = formatted
	}
	if o.out != "" {
		if err := safeopen.WriteNew(o.out, text); err != nil {
			return err
		}
	}
	if err := o.print(out, problems, p, text); err != nil {
		return err
	}
	if p.Losses() > 0 {
		return errLost
	}
	return nil
}

// keep writes the pairs of p, which the program has ordered, to the folder of --state, where edge finds them.
func (o *importOptions) keep(p *plan.Plan) error {
	const what = "the certificates in this file"
	if o.state == "" {
		for _, c := range p.Pairs {
			p.Note(c.Place, what, "edge orders new ones, unless --state DIR names a folder to keep these in")
		}
		return nil
	}
	dir, err := filepath.Abs(o.state)
	var folder *issue.Folder
	if err == nil && len(p.Pairs) > 0 {
		folder, err = issue.NewFolder(dir, -1, -1)
	}
	if err != nil {
		return err
	}
	p.KeepIn(dir)
	for _, c := range p.Pairs {
		if err := issue.Keep(context.Background(), folder, c.Authority, c.Names, c.Chain, c.Key); err != nil {
			p.Lose(c.Place, "the certificate for "+strings.Join(c.Names, ", "), err.Error())
		} else {
			p.Note(c.Place, what, "edge finds them in "+dir+". The account is not taken over: edge makes one")
		}
	}
	p.Present(func(star string) (cert, key string) {
		for _, name := range []string{issue.Safe(star), issue.Safe(star) + "_and_*"} {
			if found, _ := filepath.Glob(filepath.Join(dir, "certificates", "*", name, name+".crt")); found != nil {
				return found[0], strings.TrimSuffix(found[0], ".crt") + ".key"
			}
		}
		return "", ""
	})
	if _, err := os.Stat(filepath.Join(dir, "certificates")); err != nil {
		p.Lose(plan.Place{File: p.File, Line: 1}, "--state "+dir, "no certificates are there: "+syntax.WithoutPath(err))
	}
	return nil
}

func (o *importOptions) print(out, problems io.Writer, p *plan.Plan, text []byte) error {
	if o.json {
		all := imported{Config: string(text), Findings: []importedFinding{}}
		for _, f := range p.Findings() {
			all.Findings = append(all.Findings, importedFinding{f.File, f.Line, f.Lost, f.What, f.Why})
		}
		text, err := json.MarshalIndent(all, "", "  ")
		if err == nil {
			_, err = fmt.Fprintln(out, string(printable.JSON(text)))
		}
		return err
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
	_, report := config.Options{MakeFilters: true}.Load(path)
	return report
}
