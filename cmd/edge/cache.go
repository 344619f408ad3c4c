package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/server/admin"
)

func newCache() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cache", Short: "Purge the cache, and see what it has",
		Long: "Purge the cache, and see what it has. docs/cache.md says what is stored and for how long.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage{cmd, fmt.Errorf("%s takes purge, stats or get, got %q", cmd.CommandPath(), args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCachePurge(), newShown("cache stats", "/v1/cache", printCacheStats), newCacheGet())
	return cmd
}

type purging struct {
	asking
	one  admin.CachePurge // of the flags
	urls []string
}

func newCachePurge() *cobra.Command {
	var p purging
	cmd := &cobra.Command{
		Use: "purge URL... | --tag TAG | --prefix URL/ | --host HOST | --all", Short: admin.Help("cache purge"),
		Long: admin.Help("cache purge") + ". A request that begins after that is not given what was asked for " +
			"before. With --soft answers are expired instead of gone: they may be sent as stale ones, where the " +
			"answer or stale_while and stale_on_error allow that.\n\n" + asksText,
		Example: "  edge cache purge http://example.com/news 'http://example.com/list?page=1'\n" +
			"  edge cache purge --tag product-7 --soft",
		Args: func(cmd *cobra.Command, args []string) error {
			p.urls = args
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return p.run(cmd) },
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&p.one.Tag, "tag", "", "what has this `tag`")
	f.StringVar(&p.one.Prefix, "prefix", "", "all paths that begin like this `URL`, which ends with a slash")
	f.StringVar(&p.one.Host, "host", "", "all of a `host`")
	f.BoolVar(&p.one.All, "all", false, "all that is stored")
	f.BoolVar(&p.one.Soft, "soft", false, "expired, and not gone")
	return cmd
}

// run purges one thing after the other. The answer to the last one is printed: its number is the greatest.
func (p *purging) run(cmd *cobra.Command) error {
	all := make([]admin.CachePurge, 0, len(p.urls)+1)
	if p.one != (admin.CachePurge{Soft: p.one.Soft}) {
		all = append(all, p.one)
	}
	for _, u := range p.urls {
		all = append(all, admin.CachePurge{URL: u, Soft: p.one.Soft})
	}
	switch {
	case len(all) == 0:
		return usage{cmd, fmt.Errorf("%s takes a URL, --tag, --prefix, --host or --all", cmd.CommandPath())}
	case len(all) > len(p.urls) && len(p.urls) > 0:
		return usage{cmd, fmt.Errorf("%s takes URLs or a flag, not both", cmd.CommandPath())}
	}
	client, err := p.client()
	if err != nil {
		return err
	}
	var done admin.CachePurged
	for i := range all {
		err := client.Do(context.Background(), "POST", "/v1/cache/purge", &all[i], &done)
		if err != nil && len(all) > 1 {
			return fmt.Errorf("%w\n%d of %d URLs were purged: those before %q", err, i, len(all), all[i].URL)
		} else if err != nil {
			return err
		}
	}
	return p.show(cmd.OutOrStdout(), &done, func(w io.Writer) { fmt.Fprintf(w, "edge: purged, number %d\n", done.Seq) })
}

func printCacheStats(w io.Writer, s *admin.CacheStats) {
	fmt.Fprintf(w, "OBJECTS\t%d\nBYTES\t%d\nEVICTED\t%d\nBODIES\t%d\nBODY BYTES\t%d\n"+
		"FILLS\t%d\nFOLLOWERS\t%d\nSTORED\t%d\nREFUSED\t%d\n",
		s.Objects, s.Bytes, s.Evicted, s.Bodies, s.BodyBytes, s.Fills, s.Followers, s.Stored, s.Refused)
	p := &s.Purges
	fmt.Fprintf(w, "PURGES all\t%d\nPURGES host\t%d\nPURGES prefix\t%d\nPURGES refused\t%d\nPURGES tag\t%d\n"+
		"PURGES url\t%d\n", p.All, p.Host, p.Prefix, p.Refused, p.Tag, p.URL)
	if d := s.Disk; d != nil {
		fmt.Fprintf(w, "DISK objects\t%d\nDISK bytes\t%d of %d\nDISK written\t%d\nDISK read\t%d\nDISK dropped\t%d\n"+
			"DISK errors\t%d\nDISK paused\t%v\n", d.Objects, d.Bytes, d.Size, d.Written, d.Read, d.Dropped, d.Errors,
			d.Paused)
	}
}

func newCacheGet() *cobra.Command {
	var a asking
	var page string
	var fields []string
	cmd := &cobra.Command{
		Use: "get URL", Short: admin.Help("cache get"), Long: admin.Help("cache get") + "\n\n" + asksText,
		Example: "  edge cache get http://example.com/news -H 'Accept-Encoding: br'",
		Args:    oneArgument("URL", "", &page),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"url": {page}, "field": fields}
			return tell(&a, cmd.OutOrStdout(), "GET", "/v1/cache/entry?"+q.Encode(), nil, printCacheEntry)
		},
	}
	a.flags(cmd)
	cmd.Flags().StringArrayVarP(&fields, "header", "H", nil, "a `field` of the request; repeatable")
	return cmd
}

func printCacheEntry(w io.Writer, e *admin.CacheEntry) {
	printable.Printf(w, "%s\t%s\n", strings.ToUpper(e.State), cmp.Or(e.Explained, e.Reason))
	if e.Try != "" {
		printable.Printf(w, "TRY\t%s\n", e.Try)
	}
	if e.Target != "" {
		printable.Printf(w, "KEY\t%s %s\n", e.Authority, e.Target)
	}
	if len(e.Vary) > 0 {
		printable.Printf(w, "VARIES BY\t%s\n", strings.Join(e.Vary, ", "))
	}
	if e.Status == 0 {
		return
	}
	left := fmt.Sprintf("fresh for %ds", e.TTL)
	if e.TTL < 0 {
		left = fmt.Sprintf("expired %ds ago", -e.TTL)
	}
	printable.Printf(w, "STATUS\t%d, %d bytes\nAGE\t%ds, %s\n", e.Status, e.Length, e.Age, left)
	for _, f := range e.Fields {
		printable.Printf(w, "\t%s\n", f)
	}
}
