package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/report"
)

// command returns a command without arguments.
func command(use, short string, run func(c *cobra.Command, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: run}
}

// showFlags say what becomes of what is measured.
type showFlags struct {
	format, page, compare string
	asJSON                bool
}

func (s *showFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.page, "report", "", "write a page with plots to this `file`, to be shown to others")
	f.StringVar(&s.compare, "compare", "", "say what changed since the JSON of an earlier run in this `file`")
}

// reported is what a command has found. old is what it had found in an earlier run; nil: there is none.
type reported[R any] interface {
	WriteText(w io.Writer, old R) error
	Page(old R) *report.Page
}

// writer writes a report in a format.
type writer[R any] func(r R, w io.Writer, old R) error

// shown is showFlags with what they name: what cannot be read or written is said before anything is measured.
type shown[R reported[R]] struct {
	page  *os.File
	old   R
	write writer[R]
}

// open reads the earlier report by read. formats are those beside text and json.
func open[R reported[R]](s *showFlags, read func(io.Reader) (R, error), formats map[string]writer[R]) (
	out shown[R], err error,
) {
	all := map[string]writer[R]{"text": R.WriteText, "json": func(r R, w io.Writer, _ R) error {
		return report.WriteJSON(w, r)
	}}
	maps.Copy(all, formats)
	if s.asJSON {
		s.format = "json"
	}
	if out.write = all[s.format]; out.write == nil {
		return out, fmt.Errorf("--format: %q is none of %q", s.format, slices.Sorted(maps.Keys(all)))
	}
	if s.compare != "" {
		f, err := os.Open(s.compare)
		if err != nil {
			return out, fmt.Errorf("--compare: %w", err)
		}
		defer func() { _ = f.Close() }()
		if out.old, err = read(f); err != nil {
			return out, fmt.Errorf("--compare %s: %w", s.compare, err)
		}
	}
	out.page, err = create(s.page)
	return out, err
}

// show writes r to all places that were asked for.
func (s *shown[R]) show(w io.Writer, r R) error {
	return errors.Join(s.write(r, w, s.old), fill(s.page, r.Page(s.old).Write))
}

// create opens the file of a flag that may be empty, and makes it where there is none. An old file keeps its text until
// fill: a run that fails before it has a result takes nothing away.
func create(name string) (*os.File, error) {
	if name == "" {
		return nil, nil
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
}

// fill replaces the text of a file, which may be nil, by what write writes. Then it closes the file.
func fill(f *os.File, write func(io.Writer) error) error {
	if f == nil {
		return nil
	}
	var text bytes.Buffer
	err := write(&text)
	if info, failed := f.Stat(); err == nil && failed == nil && info.Mode().IsRegular() { // not a pipe
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.Write(text.Bytes())
	}
	return errors.Join(err, f.Close())
}
