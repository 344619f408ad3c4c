package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/printable"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/route"
	"github.com/edge-proxy/edge/server/explain"
)

// langOptions are the flags of edge lang.
type langOptions struct {
	text     string
	ask      explain.Ask
	client   string
	template bool
	json     bool
}

func newLang() *cobra.Command {
	var o langOptions
	cmd := &cobra.Command{
		Use:   "lang TEXT [URL]",
		Short: "Say what a condition or a template makes of a request",
		Long: "Say whether a condition of the language (docs/DSL.md) holds for a request, and what each of its parts " +
			"says, or what a template makes of it. Nothing is sent, and no configuration is read.\n\n" +
			"Exit codes: 0 it was evaluated, whether it holds or not, 1 the text is wrong.",
		Example: "  edge lang 'path like \"/api/*\" and header.x-beta == \"1\"' http://localhost/api/v1 \\\n" +
			"    -H 'X-Beta: 1'\n" +
			"  edge lang --template 'https://{host}{target}' http://example.com/a?b=c",
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
	f.BoolVar(&o.template, "template", false, "the text is a template, not a condition")
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
		{Name: "scheme", Kind: lang.Text, Phases: lang.Request, Doc: "`https` or `http`, as the URL says.",
			Example: `scheme == "https"`, Text: func(x *lang.X) []byte { return []byte(of(x).Scheme) }},
	}}
}

// evaluated is what edge lang prints.
type evaluated struct {
	Holds   *bool    `json:"holds,omitempty"`
	Clauses []clause `json:"clauses,omitempty"`
	Text    *string  `json:"text,omitempty"`
}

// clause is a part of a condition.
type clause struct {
	Text    string `json:"text"`
	Holds   bool   `json:"holds"`
	Asked   bool   `json:"asked"`
	Value   string `json:"value"`
	Missing bool   `json:"missing"`
}

// run evaluates the text.
func (o *langOptions) run(cmd *cobra.Command) error {
	if err := askClient(&o.ask, o.client); err != nil {
		return usage{cmd, err}
	}
	request, err := explain.Arrive(&o.ask)
	if err != nil {
		return usage{cmd, err}
	}
	scope, err := lang.NewScope(langNames())
	if err != nil {
		return err
	}
	x := &lang.X{Request: &request.Head, Subject: request, State: lang.NewState(uint64(time.Now().UnixNano()))}
	x.Path = []byte(route.NormalPath(string(request.Head.Path())))
	x.State.Now = time.Now().UnixNano()
	result, err := o.evaluate(scope, x)
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

// evaluate compiles the text and asks it.
func (o *langOptions) evaluate(scope *lang.Scope, x *lang.X) (*evaluated, error) {
	if o.template {
		t, err := scope.Template(o.text, lang.Request)
		if err != nil {
			return nil, err
		}
		text := string(t.Append(nil, x))
		return &evaluated{Text: &text}, nil
	}
	c, err := scope.Condition(o.text, lang.Request)
	if err != nil {
		return nil, err
	}
	holds := c.Holds(x)
	result := &evaluated{Holds: &holds}
	for _, p := range c.Explain(x) {
		result.Clauses = append(result.Clauses, clause{p.Text, p.Holds, p.Asked, p.Value, p.Missing})
	}
	return result, nil
}

func (e *evaluated) print(w io.Writer) error {
	if e.Text != nil {
		_, err := fmt.Fprintln(w, printable.Text(*e.Text))
		return err
	}
	fmt.Fprintln(w, *e.Holds)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range e.Clauses {
		said, value := fmt.Sprint(c.Holds), "it is "+c.Value
		switch {
		case !c.Asked:
			said, value = "not asked", ""
		case c.Missing:
			value = "it is missing"
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", printable.Text(c.Text), said, printable.Text(value))
	}
	return table.Flush()
}
