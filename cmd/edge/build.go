package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/cmd/edge/assemble"
	"github.com/edge-proxy/edge/internal/base/build"
	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return printVersion(cmd.OutOrStdout(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

func printVersion(w io.Writer, asJSON bool) error {
	buffers, text := "lent", "buffers for TLS records are lent"
	if !tlsconn.LendsBuffers() {
		buffers, text = "kept", "each TLS connection keeps its buffers: edge is not tested with this Go"
	}
	if asJSON {
		own, err := build.Own()
		if err != nil {
			return fmt.Errorf("read the program: %w", err)
		}
		return printJSON(w, map[string]string{
			"version": own.Version, "commit": own.Commit, "sha256": own.Sum,
			"go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
			"tls": tlsconn.ProviderName(), "tls_buffers": buffers,
		})
	}
	commit := ""
	if c := build.Commit(); c != "" {
		commit = "commit " + c + ", "
	}
	for _, m := range linked().Modules {
		text += "\nlinked with " + m.String()
	}
	_, err := fmt.Fprintf(w, "edge %s (%s%s %s/%s, TLS by %s)\n%s\n",
		build.Version(), commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, tlsconn.ProviderName(), text)
	return err
}

func newModules() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "modules",
		Short: "List the types of filters, destinations and the like that this program has, and their modules",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report := linked()
			if asJSON {
				return printJSON(cmd.OutOrStdout(), report)
			}
			return printModules(cmd.OutOrStdout(), report)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// linked returns the modules of others in this program, and its registered types.
func linked() *assemble.Report {
	r := &assemble.Report{Edge: build.Version(), Modules: []assemble.Linked{}, Types: []assemble.Type{}}
	at := func(m build.Module) *assemble.Linked {
		i := slices.IndexFunc(r.Modules, func(l assemble.Linked) bool { return l.Path == m.Path })
		if i < 0 {
			i = len(r.Modules)
			r.Modules = append(r.Modules, assemble.Linked{Path: m.Path, Version: m.Version, Dir: m.Dir})
		}
		return &r.Modules[i]
	}
	for _, pkg := range build.Added() {
		m, _ := build.ModuleOf(pkg)
		at(m)
	}
	for _, t := range plugin.Types() {
		m, isEdge := build.ModuleOf(t.Package)
		r.Types = append(r.Types, assemble.Type{Kind: t.Kind.Section, Name: t.Name, Doc: t.Doc, Module: m.Path})
		if !isEdge {
			l := at(m)
			if l.Types == nil {
				l.Types = make(map[string][]string)
			}
			l.Types[t.Kind.Section] = append(l.Types[t.Kind.Section], t.Name)
		}
	}
	return r
}

func printModules(to io.Writer, r *assemble.Report) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tTYPE\tMODULE\tDOES")
	for _, t := range r.Types {
		from := "edge " + r.Edge
		if i := slices.IndexFunc(r.Modules, func(l assemble.Linked) bool { return l.Path == t.Module }); i >= 0 {
			from = r.Modules[i].String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Kind, t.Name, from, t.Doc)
	}
	for _, m := range r.Modules {
		if len(m.Types) == 0 {
			fmt.Fprintf(w, "-\t-\t%s\tregisters no type\n", m)
		}
	}
	return w.Flush()
}

type buildOptions struct {
	with      []string
	file, out string
	json      bool
}

// buildFile is the list of modules that edge build reads without flags.
const buildFile = "edge.build"

func newBuild() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build an edge that is linked with modules of others",
		Long: "Build an edge of this version that is linked with Go modules of others, and start it to see that it " +
			"runs. It needs a Go toolchain in PATH. The modules are named by --with, by --file, or both; without " +
			"either ./" + buildFile + " is read, which has one module a line: docs/plugins.md.\n\n" +
			"GOFLAGS, GOPROXY, GOPRIVATE and the like apply as they do to the go command. The file is written only " +
			"when the new program has started.\n\n" +
			"Exit codes: 0 it is built, 1 it is not, or there is no Go toolchain.",
		Example: "  edge build --with example.com/tenant@v1.2.0 -o edge\n" +
			"  edge build --with example.com/tenant=./tenant -o edge\n" +
			"  edge build --file edge.build -o /usr/local/bin/edge",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.with, "with", nil, "link `module`: path[@version][=folder]; may be given more than once")
	f.StringVar(&o.file, "file", "", "read the modules from `file`, one a line")
	f.StringVarP(&o.out, "output", "o", "./edge", "write the program to `file`")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

var errNoModule = errors.New("edge build needs a module: --with example.com/tenant@v1.2.0, or a file " + buildFile +
	" here or as --file")

func (o *buildOptions) modules() (list []assemble.Module, err error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for _, text := range o.with {
		m, err := assemble.Parse(text, dir)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	file := o.file
	if file == "" && len(list) > 0 {
		return list, nil
	}
	file = cmp.Or(file, buildFile)
	more, err := assemble.ParseFile(file)
	if o.file == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, errNoModule
	}
	if list = append(list, more...); err == nil && len(list) == 0 {
		err = fmt.Errorf("%s names no module", file)
	}
	return list, err
}

// run builds, and prints what was built.
func (o *buildOptions) run(cmd *cobra.Command) error {
	list, err := o.modules()
	if err != nil {
		return usage{cmd, err}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	job := assemble.Job{Modules: list, Version: build.Version(), Out: o.out,
		Step: func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), "edge build: "+text) }}
	r, err := job.Run(ctx)
	switch {
	case ctx.Err() != nil:
		return errors.New("edge build: ended by a signal")
	case err != nil:
		return fmt.Errorf("edge build: %w", err)
	case o.json:
		return printJSON(cmd.OutOrStdout(), r)
	}
	return printBuilt(cmd.OutOrStdout(), r)
}

// printBuilt prints the modules of a program with their versions, and its size.
func printBuilt(to io.Writer, r *assemble.Result) error {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\t%s, %s\n", r.Edge, r.Go, r.Target)
	for _, m := range r.Modules {
		types := "registers no type"
		if len(m.Types) > 0 {
			var all []string
			for _, kind := range slices.Sorted(maps.Keys(m.Types)) {
				all = append(all, kind+": "+strings.Join(m.Types[kind], ", "))
			}
			types = strings.Join(all, "; ")
		} else if !r.Started {
			types = "not started: it is for " + r.Target
		}
		fmt.Fprintf(w, "%s\t%s\n", m, types)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	path := r.Out
	if filepath.Base(path) == path {
		path = "./" + path
	}
	_, err := fmt.Fprintf(to, "%s%s, %.1f MB: %s modules lists what it has\n", printable.Text(text.String()), path,
		float64(r.Size)/1e6, path)
	return err
}
