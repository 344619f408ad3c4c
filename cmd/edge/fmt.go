package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/format"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

// textMax bounds a text that edge fmt reads, in bytes. It is the limit of a configuration.
const textMax = 16 << 20

var errTextLong = errors.New("longer than 16 MiB")

type formatOptions struct {
	sources
	check, json bool
}

func newFmt() *cobra.Command {
	var o formatOptions
	cmd := &cobra.Command{
		Use:   "fmt [FILE...]",
		Short: "Format files of the configuration",
		Long: "Format files of the configuration that are TOML, in place: aligned keys, one blank line between " +
			"sections, one form for lists and quotes. Order and comments stay. What a file means is compared before " +
			"anything is written, and stays too. The names of files that changed are printed.\n\n" +
			"With -c, the file and those that it includes. With - for a file, and where the text comes by a pipe, " +
			"the result goes to stdout. With none of these, the configuration that edge run would find. Files of " +
			"YAML and JSON are left as they are. With an error in one file none is written.\n\n" +
			"Exit codes: 0 all files have the form, or were given it; 1 a file has errors, or with --check another " +
			"form.",
		Example: "  edge fmt --check edge.toml conf.d/*.toml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.conf != "" && len(args) > 0 {
				return usage{cmd, fmt.Errorf("files are given twice: -c %s and %s", o.conf, args[0])}
			}
			return o.run(cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
		},
	}
	confFlag(cmd.Flags(), &o.conf)
	cmd.Flags().BoolVar(&o.check, "check", false, "list the files that have another form, write none, and exit with 1")
	cmd.Flags().BoolVar(&o.json, "json", false, "print the files as JSON")
	return cmd
}

// formattedFile is a file as --json prints it.
type formattedFile struct {
	File    string `json:"file"`
	Differs bool   `json:"differs"`
	Written bool   `json:"written"`
	Text    string `json:"text,omitempty"` // of stdin

	before, after []byte
}

// run formats what args name, and returns the exit code.
func (o *formatOptions) run(in io.Reader, out, problems io.Writer, args []string) error {
	files, err := o.read(in, problems, args)
	if err != nil {
		return err
	}
	right := true
	for _, f := range files {
		fine, err := f.format(problems)
		if err != nil {
			return err
		}
		right = right && fine
	}
	if !right {
		return exit(exitError)
	}
	if !o.check {
		for _, f := range files {
			if err := f.write(out, o.json); err != nil {
				return err
			}
		}
	}
	if err := o.print(out, files); err != nil {
		return err
	}
	if o.check && slices.ContainsFunc(files, func(f *formattedFile) bool { return f.Differs }) {
		return exit(exitError)
	}
	return nil
}

// stdinName stands for the standard input among the arguments.
const stdinName = "-"

// read returns the files to format, with their texts.
func (o *formatOptions) read(in io.Reader, problems io.Writer, args []string) (files []*formattedFile, err error) {
	if len(args) == 0 && o.conf == "" && isPiped(in) {
		args = []string{stdinName}
	}
	if len(args) == 0 {
		return o.configured(problems)
	}
	for i, path := range args {
		if slices.ContainsFunc(args[:i], func(before string) bool { return isSameFile(before, path) }) {
			continue
		}
		var text []byte
		if path == stdinName {
			text, err = io.ReadAll(io.LimitReader(in, textMax+1))
			if err == nil && len(text) > textMax {
				err = errTextLong
			} else if err == nil && len(text) == 0 && len(args) == 1 {
				err = errors.New("nothing to format: name a file, or a configuration with -c")
			}
		} else {
			text, err = syntax.ReadRegular(path, textMax, errTextLong)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %s", syntax.QuotePath(path), syntax.WithoutPath(err))
		}
		files = append(files, &formattedFile{File: path, before: text})
	}
	return files, nil
}

func isSameFile(a, b string) bool {
	if a == b || a == stdinName || b == stdinName {
		return a == b
	}
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// isPiped reports whether the standard input is redirected, to a pipe or a file.
func isPiped(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return true
	}
	at, err := f.Stat()
	return err == nil && at.Mode()&os.ModeCharDevice == 0
}

func (o *formatOptions) configured(problems io.Writer) (files []*formattedFile, err error) {
	path, _ := o.locate()
	if path == "" {
		return nil, errNoFile
	}
	var read config.Files
	config.Options{TextOnly: true, Record: &read}.Load(path)
	for i := range read.Texts {
		t := &read.Texts[i]
		name := shortest(t.Path)
		switch {
		case t.Text == nil:
			return nil, fmt.Errorf("cannot read %s", syntax.QuotePath(name))
		case i > 0 && isOther(name, t.Text):
			if _, err := fmt.Fprintf(problems, "%s is left as it is: %v\n", name, errNotTOML); err != nil {
				return nil, err
			}
		default:
			files = append(files, &formattedFile{File: name, before: t.Text})
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("cannot read %s", syntax.QuotePath(path))
	}
	return files, nil
}

// shortest returns a path relative to the working directory if it is below that.
func shortest(path string) string {
	if dir, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
			return rel
		}
	}
	return path
}

var errNotTOML = errors.New("edge fmt formats TOML, and this is YAML or JSON")

// isOther reports whether a text is a configuration that is not TOML.
func isOther(name string, text []byte) bool {
	src := syntax.NewSource(name, text, 0)
	syntax.ParseTree(src, &syntax.Report{})
	return src.Colon
}

// format fills in what the file should be, or shows what is wrong with it.
func (f *formattedFile) format(problems io.Writer) (right bool, err error) {
	src, rep := syntax.NewSource(f.File, f.before, 0), &syntax.Report{}
	_, whole := syntax.ParseTree(src, rep)
	switch {
	case src.Colon:
		return false, fmt.Errorf("%s: %w", f.File, errNotTOML)
	case whole && rep.OK():
		f.after, rep = format.TOML(src)
	}
	rep.Finish(f.File, nil)
	f.Differs = string(f.after) != string(f.before)
	return rep.OK(), rep.Render(problems)
}

// write replaces a file whose text differs. The text of stdin goes to out, whether it differs or not.
func (f *formattedFile) write(out io.Writer, asJSON bool) error {
	switch {
	case f.File == stdinName && asJSON:
		f.Text = string(f.after)
		return nil
	case f.File == stdinName:
		_, err := out.Write(f.after)
		return err
	case !f.Differs:
		return nil
	}
	if err := replaceFile(f.File, f.before, f.after); err != nil {
		return fmt.Errorf("cannot write %s: %s", syntax.QuotePath(f.File), syntax.WithoutPath(err))
	}
	f.Written = true
	return nil
}

func (o *formatOptions) print(out io.Writer, files []*formattedFile) error {
	if o.json {
		return printJSON(out, struct {
			Files []*formattedFile `json:"files"`
		}{files})
	}
	for _, f := range files {
		if f.Differs && (o.check || f.File != stdinName) {
			if _, err := fmt.Fprintln(out, f.File); err != nil {
				return err
			}
		}
	}
	return nil
}

// replaceFile replaces the text of a file, which is before, by after. A rename does it, so a reader sees one text or
// the other, whole. Mode and owner stay, and a symbolic link stays one.
func replaceFile(path string, before, after []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	at, err := os.Stat(path)
	if err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return err
	}
	_, err = next.Write(after)
	if err == nil {
		err = errors.Join(keepRights(next, at), next.Sync())
	}
	err = errors.Join(err, next.Close())
	if err == nil {
		if now, failed := os.ReadFile(path); failed != nil || string(now) != string(before) {
			err = errors.New("it has changed since it was read")
		}
	}
	if err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		_ = os.Remove(next.Name())
	}
	return err
}

// keepRights gives a new file the owner and the mode of another one.
func keepRights(f *os.File, of fs.FileInfo) error {
	own, err := f.Stat()
	if err != nil {
		return err
	}
	is, want := own.Sys().(*syscall.Stat_t), of.Sys().(*syscall.Stat_t)
	if is.Uid != want.Uid || is.Gid != want.Gid {
		if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil {
			return fmt.Errorf("its owner cannot be kept: %w", err)
		}
	}
	return f.Chmod(of.Mode().Perm())
}
