package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/server/explain"
	"github.com/edge-proxy/edge/lang"
)

type langOptions struct {
	sources
	text     string
	ask      explain.Ask
	client   string
	template bool
	log      bool
	json     bool
}

func newLang() *cobra.Command {
	var o langOptions
	cmd := &cobra.Command{
		Use:   "lang TEXT [URL]",
		Short: "Say what a condition or a template makes of a request",
		Long: "Say whether a condition of the language (docs/DSL.md) holds for a request, and what each of its parts " +
			"says, or what a template makes of it. Nothing is sent.\n\n" +
			"Without -c it knows the request, client.ip and scheme. With -c it has all that a text of " +
			"that configuration has: its lists, maps and secrets, which are not shown, the listener and the route of " +
			"the request, and what rules have made of it.\n\n" +
			"Exit codes: 0 it was evaluated, whether it holds or not, 1 the text or the configuration is wrong.",
		Example: "  edge lang 'path like \"/api/*\" and header.x-beta == \"1\"' http://localhost/api/v1 \\\n" +
			"    -H 'X-Beta: 1'\n" +
			"  edge lang --template 'https://{host}{target}' http://example.com/a?b=c\n" +
			"  edge lang -c edge.toml 'client.ip in list.office and route == \"api\"' http://localhost/api/v1 \\\n" +
			"    --client-ip 10.1.2.3",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usage{cmd, fmt.Errorf("%s takes a text and a URL, got %d arguments", cmd.CommandPath(),
					len(args))}
			}
			o.text, o.ask.URL = args[0], "http://localhost/"
			if len(args) == 2 {
				o.ask.URL = args[1]
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.conf, "conf", "c", "", "configuration `file` whose names the text may have")
	f.BoolVar(&o.template, "template", false, "the text is a template, not a condition")
	f.BoolVar(&o.log, "log", false, "the text is one of [log]: what an answer tells is missing in it")
	askFlags(f, &o.ask, &o.client)
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// langNames are what edge lang knows of a request beside its head.
func langNames() lang.Names {
	of := func(x *lang.X) *explain.Arrived { return x.Subject.(*explain.Arrived) }
	return lang.Names{Variables: []lang.Variable{
		{Name: "client.ip", Kind: lang.IP, Phases: lang.Always, Doc: "The address of the client.",
			Example: `client.ip in {10.0.0.0/8}`, IP: func(x *lang.X) netip.Addr { return of(x).Client }},
		{Name: "scheme", Kind: lang.Text, Phases: lang.Request | lang.Log, Doc: "`https` or `http`, as the URL says.",
			Example: `scheme == "https"`, Text: func(x *lang.X) []byte { return []byte(of(x).Scheme) }},
	}}
}

// evaluated is what edge lang prints.
type evaluated struct {
	Holds   *bool            `json:"holds,omitempty"`
	Clauses []explain.Clause `json:"clauses,omitempty"`
	Text    *string          `json:"text,omitempty"`
}

func (o *langOptions) run(cmd *cobra.Command) error {
	if err := askClient(&o.ask, o.client); err != nil {
		return usage{cmd, err}
	}
	o.ask.Stopwatch = newStopwatch()
	evaluate := o.evaluateAlone
	if o.conf != "" {
		evaluate = o.evaluateIn
	}
	result, err := evaluate(cmd)
	if wrong := (*lang.Error)(nil); errors.As(err, &wrong) {
		fmt.Fprintf(cmd.ErrOrStderr(), "error: %s\n%s %s\n", wrong.Message, wrong.Caret(o.text), wrong.Hint)
		return exit(exitError)
	}
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), result)
	}
	return result.print(cmd.OutOrStdout())
}

// evaluateAlone evaluates the text for the head of the request.
func (o *langOptions) evaluateAlone(cmd *cobra.Command) (*evaluated, error) {
	request, err := explain.Arrive(&o.ask)
	if err != nil {
		return nil, usage{cmd, err}
	}
	names := langNames()
	if o.log {
		names.Variables = slices.Concat(variables.All(), names.Variables)
	}
	scope, err := lang.NewScope(names)
	if err != nil {
		return nil, err
	}
	x := &lang.X{Request: &request.Head, Subject: request, State: lang.NewState()}
	x.Path = []byte(route.NormalPath(string(request.Head.Path())))
	x.Body = &lang.Body{Bytes: []byte(o.ask.Body)}
	x.State.Now, x.State.Stopwatch = time.Now().UnixNano(), o.ask.Stopwatch
	return o.evaluate(scope, x)
}

// evaluateIn evaluates the text for the request as a configuration takes it, with what that defines.
func (o *langOptions) evaluateIn(cmd *cobra.Command) (result *evaluated, err error) {
	path, ignored := o.locate()
	o.textOnly, o.tables = true, language.NewTables()
	cfg, report := o.load(path, ignored)
	if !report.OK() {
		return nil, cmp.Or[error](report.Render(cmd.ErrOrStderr()), exit(exitError))
	}
	cfg.Language.Commit()
	asked := explain.Look(cfg, &o.ask, func(x *lang.X) { result, err = o.evaluate(cfg.Language.Scope(), x) })
	if asked != nil {
		return nil, usage{cmd, asked}
	}
	return result, err
}

func (o *langOptions) evaluate(scope *lang.Scope, x *lang.X) (*evaluated, error) {
	in := lang.Content
	if o.log {
		in = lang.Log
	}
	if o.template {
		t, err := scope.Template(o.text, in)
		if err != nil {
			return nil, err
		}
		var text []byte
		for i, p := range t.Parts() {
			if p.Secret {
				text = append(text, "(secret)"...)
			} else {
				text = t.AppendPart(text, x, i)
			}
		}
		said := string(text)
		return &evaluated{Text: &said}, nil
	}
	c, err := scope.Condition(o.text, in)
	if err != nil {
		return nil, err
	}
	holds := c.Holds(x)
	return &evaluated{Holds: &holds, Clauses: explain.Clauses(c.Explain(x))}, nil
}

func (e *evaluated) print(w io.Writer) error {
	if e.Text != nil {
		_, err := fmt.Fprintln(w, printable.Text(*e.Text))
		return err
	}
	fmt.Fprintln(w, *e.Holds)
	return explain.WriteClauses(w, "  ", e.Clauses)
}
