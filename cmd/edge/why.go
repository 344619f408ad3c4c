package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/server/admin"
)

func newWhy() *cobra.Command {
	var a asking
	var all bool
	var limit int
	cmd := &cobra.Command{
		Use: "why [ID]", Short: "Say what became of a request, or of a connection of a TCP service",
		Long: "Say what became of a request, or of a connection of a TCP service, that has ended: its attempts, the " +
			"parts of its time, who ended it and the likely reason. ID is its number, as in the access log, on error " +
			"pages and in X-Request-Id. Without ID the last ones are listed that failed, were tried again or were " +
			"slow. The process remembers as many as [admin] why says.\n\n" + asksText,
		Example: "  edge why 5f0c9a1be2d34f7799d7e4c1a0b3f2e8\n  edge why --limit 50\n  edge why --all --json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] == "" {
				return usage{cmd, fmt.Errorf("%s takes the number of one request", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.why(cmd.OutOrStdout(), args[0])
			}
			return a.whyList(cmd.OutOrStdout(), all, limit)
		},
	}
	a.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "list also those that ended well and soon")
	cmd.Flags().IntVar(&limit, "limit", 20, "list so many at most, up to 1000")
	return cmd
}

// why prints what became of the requests with a number.
func (a *asking) why(out io.Writer, id string) error {
	return tell(a, out, "GET", admin.RequestPath(id), nil, func(w io.Writer, list *admin.List[admin.Request]) {
		for i := range list.Items {
			if i > 0 {
				fmt.Fprintln(w)
			}
			printRequest(w, &list.Items[i])
		}
	})
}

func (a *asking) whyList(out io.Writer, all bool, limit int) error {
	q := url.Values{"limit": {strconv.Itoa(limit)}, "all": {strconv.FormatBool(all)}}
	var list admin.List[admin.Request]
	if err := a.ask("GET", "/v1/requests?"+q.Encode(), nil, &list); err != nil {
		return err
	}
	if len(list.Items) == 0 && !a.json {
		_, err := fmt.Fprintln(out, "edge: no request has failed, was tried again or was slow; --all lists the others")
		return err
	}
	return a.show(out, &list, func(w io.Writer) { printRequests(w, list.Items) })
}

func printRequests(w io.Writer, list []admin.Request) {
	cache := slices.ContainsFunc(list, func(r admin.Request) bool { return r.Cache != "" })
	fmt.Fprint(w, "ID\tBEGAN\tTOOK\tSTATUS\tREASON\tROUTE\tBACKEND\tATTEMPTS\t")
	if cache {
		fmt.Fprint(w, "CACHE\t")
	}
	fmt.Fprintln(w, "CLIENT")
	for i := range list {
		r := &list[i]
		backend := "-"
		if n := len(r.Tries); n > 0 {
			backend = r.Tries[n-1].Backend
		}
		printable.Printf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%d\t", cmp.Or(r.ID, "-"), clock(r.Began), took(r.Took),
			r.Status, cmp.Or(r.Reason, "-"), cmp.Or(r.Route, "-"), backend, r.Attempts)
		if cache {
			printable.Printf(w, "%s\t", cmp.Or(strings.TrimSpace(r.Cache+" "+r.CacheReason), "-"))
		}
		printable.Printf(w, "%s\n", r.Client)
	}
}

// clock writes a date and a time of day, with milliseconds.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }

// took writes a duration, rounded for a reader.
func took(d admin.Duration) string {
	t := time.Duration(d)
	switch {
	case t >= time.Second:
		return t.Round(10 * time.Millisecond).String()
	case t >= time.Millisecond:
		return t.Round(10 * time.Microsecond).String()
	}
	return t.String()
}

// printRequest prints what became of r as a timeline.
func printRequest(w io.Writer, r *admin.Request) {
	line := func(name, format string, values ...any) { printable.Printf(w, name+"\t"+format+"\n", values...) }
	what, listener, body := "request", "listener", "body"
	if r.Protocol == "TCP" {
		what, listener, body = "connection", "service", "moved"
	}
	line(what, "%s", cmp.Or(r.ID, "-"))
	line("began", "%s, took %s", clock(r.Began), took(r.Took))
	secured := ""
	if r.TLS {
		secured = " over TLS"
	}
	line("client", "%s, %s%s, %s %s", cmp.Or(r.Client, "-"), r.Protocol, secured, listener, r.Listener)
	if r.Route != "" {
		line("route", "%s", r.Route)
	}
	if r.Upstream != "" {
		line("upstream", "%s", r.Upstream)
	}
	if r.Version > 0 {
		line("version", "%d of the configuration", r.Version)
	}
	for i := range r.Tries {
		t := &r.Tries[i]
		if i > 0 && t.Attempt > 2 {
			line("", "%d more attempts", t.Attempt-2)
		}
		reused := ""
		if r.Reused && i == len(r.Tries)-1 {
			reused = ", on a connection that had served before"
		}
		line(fmt.Sprintf("attempt %d", t.Attempt), "%s: %s, %s after the beginning%s", t.Backend, t.Outcome,
			took(t.After), reused)
	}
	for _, p := range r.Phases {
		if p.At > 0 || p.Name == "end" {
			line(phaseNames[p.Name], "at %s (+%s)", took(p.At), took(p.Took))
		} else {
			line(phaseNames[p.Name], "%s", took(p.Took))
		}
	}
	line(body, "%d bytes in, %d bytes out", r.BytesIn, r.BytesOut)
	status := strconv.Itoa(r.Status)
	if r.Call != nil {
		status += fmt.Sprintf(", gRPC %d", *r.Call)
	}
	if r.Own {
		status += ", by edge itself"
	}
	line("status", "%s", status)
	if r.EndedBy != "" {
		line("ended by", "%s (%s)", r.EndedBy, r.Reason)
	}
	if r.Cache != "" {
		line("cache", "%s", r.CacheExplained)
	}
	line("why", "%s", r.Explained)
	if r.Try != "" {
		line("try", "%s", r.Try)
	}
}

var phaseNames = map[string]string{
	"queue": "in queue", "dns": "name look-up", "connect": "connecting", "tls": "of it TLS", "sent": "sent",
	"first_byte": "first byte", "last_byte": "last byte", "end": "end",
}
