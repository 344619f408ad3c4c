package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server/admin"
)

// adminCommands are the commands that have no other way to the process than its admin surface.
func adminCommands() []*cobra.Command {
	return []*cobra.Command{
		newList("routes", "/v1/routes", printRoutes), newList("upstreams", "/v1/upstreams", printUpstreams),
		newList("certs", "/v1/certificates", printCertificates), newConns(), newWhy(), newDrain(),
		newEnable(), newLog(), newCache(),
	}
}

func newList[T any](name, path string, table func(w io.Writer, list []T)) *cobra.Command {
	return newShown(name, path, func(w io.Writer, list *admin.List[T]) { table(w, list.Items) })
}

// newShown makes the command with this name, all words of it, which prints the answer to a GET.
func newShown[T any](name, path string, table func(w io.Writer, answer *T)) *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:   name[strings.LastIndexByte(name, ' ')+1:] + " [FILE]",
		Short: admin.Help(name), Long: admin.Help(name) + ".\n\n" + asksText,
		Args: a.argument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tell(&a, cmd.OutOrStdout(), "GET", path, nil, table)
		},
	}
	a.flags(cmd)
	return cmd
}

func printRoutes(w io.Writer, list []admin.Route) {
	fmt.Fprintln(w, "ROUTE\tHOST\tPATH\tTO\tNOTE")
	for i := range list {
		r := &list[i]
		path := r.Path
		if r.Match == "prefix" {
			path = strings.TrimSuffix(path, "/") + "/*"
		}
		var notes []string
		if len(r.Methods) > 0 {
			notes = append(notes, strings.Join(r.Methods, " "))
		}
		if r.Weight > 0 {
			notes = append(notes, fmt.Sprintf("weight %d", r.Weight))
		}
		if r.Unused != "" {
			notes = append(notes, "unused: "+r.Unused)
		}
		printable.Printf(w, "%s\t%s\t%s\t%s\t%s\n", cmp.Or(r.Name, "-"), cmp.Or(r.Host, "*"), path, r.To,
			strings.Join(notes, ", "))
	}
}

func printUpstreams(w io.Writer, list []admin.Upstream) {
	fmt.Fprintln(w, "UPSTREAM\tBACKEND\tSTATE\tWEIGHT\tUNDER WAY\tLATENCY\tWHY")
	for i := range list {
		if len(list[i].Backends) == 0 {
			printable.Printf(w, "%s\t-\tno members\n", list[i].Name)
		}
		for j := range list[i].Backends {
			b := &list[i].Backends[j]
			weight := fmt.Sprint(b.Weight)
			if b.Share < 1 {
				weight += fmt.Sprintf(" × %.0f%%", 100*b.Share)
			}
			printable.Printf(w, "%s\t%s\t%s\t%s\t%d\t%v\t%s\n", list[i].Name, b.Address, b.State, weight,
				b.Requests+b.Tunnels, time.Duration(b.Latency), reasonsOf(b))
		}
	}
}

// reasonsOf says why b does not serve.
func reasonsOf(b *admin.Backend) string {
	words := make([]string, len(b.Reasons))
	for i, r := range b.Reasons {
		words[i] = r.Name
		if r.Cause != "" && r.Cause != r.Name {
			words[i] += " (" + r.Cause + ")"
		}
	}
	text := strings.Join(words, ", ")
	if b.Until != nil {
		text = strings.TrimSpace(text + " until " + b.Until.Local().Format(time.TimeOnly))
	}
	return text
}

func printCertificates(w io.Writer, list []admin.Certificate) {
	fmt.Fprintln(w, "CERTIFICATE\tHOSTS\tSTATE\tEXPIRES\tNEXT ORDER\tERROR")
	for i := range list {
		c := &list[i]
		expires, next := "-", "-"
		if c.State != "none" {
			expires = fmt.Sprintf("%s (%s)", c.Until.Format(time.DateOnly), daysLeft(c.Until))
		}
		if c.Next != nil {
			next = c.Next.Local().Format(time.DateTime)
		}
		printable.Printf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Subject, strings.Join(c.Hosts, " "), c.State, expires, next,
			cmp.Or(c.Wrong, c.Order, "-"))
	}
}

// daysLeft says how long it is until a time.
func daysLeft(at time.Time) string {
	days := int(time.Until(at).Hours() / 24)
	if days < 0 {
		return fmt.Sprintf("%d days ago", -days)
	}
	return fmt.Sprintf("in %d days", days)
}

// newConns makes the command that prints connections, page by page.
func newConns() *cobra.Command {
	var a asking
	var filter string
	var limit int
	cmd := &cobra.Command{
		Use: "conns [FILE]", Short: "List the connections of clients",
		Long: "List the connections of clients. A filter has conditions with && between two, as in 'host == " +
			"\"example.com\" && requests > 10'. Fields are " + admin.FilterFields + ".\n\n" + asksText,
		Example: "  edge conns --filter 'protocol == h2 && queued > 0'",
		Args:    a.argument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.connections(filter, limit)
			if err != nil {
				return err
			}
			return a.show(cmd.OutOrStdout(), list, func(w io.Writer) { printConns(w, list) })
		},
	}
	a.flags(cmd)
	cmd.Flags().StringVar(&filter, "filter", "", "which ones, as an `expression`")
	cmd.Flags().IntVar(&limit, "limit", 0, "how many at most; 0: all")
	return cmd
}

// connections returns the connections that filter takes, of all pages.
func (a *asking) connections(filter string, limit int) (*admin.List[admin.Connection], error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	all := &admin.List[admin.Connection]{Items: []admin.Connection{}}
	q := url.Values{"filter": {filter}}
	for {
		var page admin.List[admin.Connection]
		if err := c.Do(context.Background(), "GET", "/v1/connections?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all.Items = append(all.Items, page.Items...)
		if limit > 0 && len(all.Items) >= limit {
			all.Items = all.Items[:limit]
			return all, nil
		}
		if page.Next == "" {
			return all, nil
		}
		q.Set("cursor", page.Next)
	}
}

func printConns(w io.Writer, list *admin.List[admin.Connection]) {
	relayed := slices.ContainsFunc(list.Items, func(c admin.Connection) bool { return c.Protocol == "tcp" })
	fmt.Fprint(w, "ID\tCLIENT\tLISTENER\tPROTOCOL\tSTATE\tREQUESTS\tQUEUED\tTLS\tHOST\tSOCKET")
	if relayed {
		fmt.Fprint(w, "\tBACKEND\tIN\tOUT\tAGE\tIDLE")
	}
	fmt.Fprintln(w)
	for i := range list.Items {
		c := &list.Items[i]
		printable.Printf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s", c.ID, c.Client, c.Listener, c.Protocol,
			c.State, c.Requests, c.Queued, cmp.Or(c.TLS, "-"), cmp.Or(c.Host, "-"), cmp.Or(c.Socket, "-"))
		switch {
		case c.Protocol == "tcp":
			printable.Printf(w, "\t%s\t%d\t%d\t%s\t%s", cmp.Or(c.Backend, "-"), c.BytesIn, c.BytesOut, took(c.Age),
				took(c.Idle))
		case relayed:
			fmt.Fprint(w, "\t-\t-\t-\t-\t-")
		}
		fmt.Fprintln(w)
	}
}

type changing struct {
	asking
	backend string
	change  admin.BackendChange
	lasts   time.Duration
}

// run asks for the change and prints how the backend stands then.
func (c *changing) run(cmd *cobra.Command) error {
	if c.lasts < 0 {
		return usage{cmd, errors.New("--for takes a time such as 10m")}
	}
	c.change.For = admin.Duration(c.lasts)
	client, err := c.client()
	if err != nil {
		return err
	}
	upstream, address, err := findBackend(client, c.backend)
	if err != nil {
		return err
	}
	path := "/v1/upstreams/" + url.PathEscape(upstream) + "/backends/" + url.PathEscape(address)
	var b admin.Backend
	err = client.Do(context.Background(), "PATCH", path, &c.change, &b)
	if refused := (*admin.Refused)(nil); errors.As(err, &refused) && refused.Code == "last-backend" {
		return fmt.Errorf("no other backend of %s serves: --force takes it out all the same", printable.Word(upstream))
	}
	if err != nil {
		return err
	}
	return c.show(cmd.OutOrStdout(), &b, func(w io.Writer) {
		printUpstreams(w, []admin.Upstream{{Name: upstream, Backends: []admin.Backend{b}}})
	})
}

// findBackend returns the upstream and the backend that a text names as UPSTREAM/BACKEND, or as BACKEND where one
// upstream alone has it. Both may have slashes.
func findBackend(client *admin.Client, text string) (upstream, address string, err error) {
	var list admin.List[admin.Upstream]
	if err := client.Do(context.Background(), "GET", "/v1/upstreams", nil, &list); err != nil {
		return "", "", err
	}
	var found [][2]string
	for i := range list.Items {
		for j := range list.Items[i].Backends {
			name, at := list.Items[i].Name, list.Items[i].Backends[j].Address
			if text == name+"/"+at {
				return name, at, nil
			}
			if text == at {
				found = append(found, [2]string{name, at})
			}
		}
	}
	switch len(found) {
	case 0:
		return "", "", fmt.Errorf("there is no backend %q: edge upstreams lists them", text)
	case 1:
		return found[0][0], found[0][1], nil
	}
	return "", "", fmt.Errorf("%d upstreams have the backend %s: write %s/%s, or another one of them", len(found),
		printable.Word(text), printable.Word(found[0][0]), printable.Word(text))
}

func newDrain() *cobra.Command {
	c := changing{change: admin.BackendChange{State: admin.BackendDraining}}
	var down bool
	cmd := &cobra.Command{
		Use: "drain UPSTREAM/BACKEND", Short: "Send a backend no new requests",
		Long: "Send a backend no new requests, and let it end those that it has. Clients that a sticky cookie holds " +
			"there stay, unless --down is given. The last backend of its upstream that serves needs --force. " +
			"edge enable takes it back.\n\n" + asksText,
		Example: "  edge drain api/10.0.0.11:8080 --for 10m",
		Args:    oneArgument("UPSTREAM/BACKEND", ": edge upstreams lists them", &c.backend),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if down {
				c.change.State = admin.BackendDown
			}
			return c.run(cmd)
		},
	}
	c.flags(cmd)
	cmd.Flags().DurationVar(&c.lasts, "for", 0, "for this `time`; else until it is enabled")
	cmd.Flags().BoolVar(&down, "down", false, "send it nothing at all")
	cmd.Flags().BoolVar(&c.change.Force, "force", false, "also when no other backend serves")
	return cmd
}

func newEnable() *cobra.Command {
	c := changing{change: admin.BackendChange{State: admin.BackendServing}}
	var share int
	cmd := &cobra.Command{
		Use: "enable UPSTREAM/BACKEND", Short: "Send a backend requests again",
		Long: "Send a backend requests again: what edge drain has asked for is over. Checks that fail, and " +
			"ejections, hold on. --share has it get a part of its weight only.\n\n" + asksText,
		Example: "  edge enable api/10.0.0.11:8080\n  edge enable api/10.0.0.11:8080 --share 25 --for 1h",
		Args:    oneArgument("UPSTREAM/BACKEND", ": edge upstreams lists them", &c.backend),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if share < 0 || share > 100 {
				return usage{cmd, errors.New("--share takes a number from 0 to 100")}
			}
			if cmd.Flags().Changed("share") {
				part := float64(share) / 100
				c.change.Share = &part
			}
			return c.run(cmd)
		},
	}
	c.flags(cmd)
	cmd.Flags().IntVar(&share, "share", 100, "the `percent` of its weight that it gets")
	cmd.Flags().DurationVar(&c.lasts, "for", 0, "for this `time`, with --share")
	return cmd
}

func newLog() *cobra.Command {
	var a asking
	var change admin.LogChange
	var lasts time.Duration
	cmd := &cobra.Command{
		Use: "log debug|info|warn|error", Short: "Have the error log say more or less for a time",
		Long: "Have the error log say more or less for a time. Then the log_level of the configuration holds " +
			"again.\n\n" +
			asksText,
		Example: "  edge log debug --for 60s",
		Args:    oneArgument("level", ": debug, info, warn or error", &change.Level),
		RunE: func(cmd *cobra.Command, _ []string) error {
			change.For = admin.Duration(lasts)
			return tell(&a, cmd.OutOrStdout(), "PUT", "/v1/log", &change, func(w io.Writer, now *admin.LogLevel) {
				printable.Printf(w, "edge: the error log has the level %s until %s\n", now.Level,
					now.Until.Local().Format(time.TimeOnly))
			})
		},
	}
	a.flags(cmd)
	cmd.Flags().DurationVar(&lasts, "for", 10*time.Minute, "how long, 24h at most")
	return cmd
}

func printFindings(w io.Writer, list []config.Problem) {
	for i := range list {
		fmt.Fprintln(w, printable.Word(list[i].Error()))
		if list[i].Hint != "" {
			fmt.Fprintln(w, "  "+printable.Text(list[i].Hint))
		}
	}
}
