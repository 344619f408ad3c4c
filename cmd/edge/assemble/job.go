package assemble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// own is the module that is written: its path lets it import what is internal to edge.
const own = Edge + "/cmd/edge/custom"

// command is the package of edge whose files become files of the program.
const command = Edge + "/cmd/edge"

// Job is a program to build.
type Job struct {
	Modules []Module // one of the path Edge says which edge, in place of Version and Commit
	Version string   // of the edge that is built: "1.2.3", or what internal/base/build knows of a build
	Out     string   // the file that is written, or replaced
	Step    func(string)
}

// Result is a program that was built and started.
type Result struct {
	Out     string   `json:"file"`
	Size    int64    `json:"size"` // of the file, in bytes
	Go      string   `json:"go"`   // the version of the compiler
	Target  string   `json:"target"`
	Started bool     `json:"started"` // false: it is for another system than this one
	Edge    Linked   `json:"edge"`
	Modules []Linked `json:"modules"`
}

// Linked is a module in a program.
type Linked struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Dir     string `json:"dir,omitempty"` // a folder that stood for it

	Types map[string][]string `json:"types,omitempty"` // that it has registered, by their kinds: "filters"
}

// String returns the path with the version or the folder.
func (l Linked) String() string {
	text := l.Path
	if l.Version != "" {
		text += " " + l.Version
	}
	if l.Dir != "" {
		text += " in " + l.Dir
	}
	return text
}

// Errors of Run. More is in what wraps them.
var (
	ErrNoGo        = errors.New("there is no Go toolchain")
	ErrDevelopment = errors.New("it is not known which edge to build")
)

// Run builds the program, starts it and gives it its name.
func (j *Job) Run(ctx context.Context) (*Result, error) {
	if err := unique(j.Modules); err != nil {
		return nil, err
	}
	tool, err := newTool(ctx)
	if err != nil {
		return nil, err
	}
	w := &work{job: j, tool: tool, ctx: ctx}
	if err := w.chooseEdge(); err != nil {
		return nil, err
	}
	out, err := filepath.Abs(j.Out)
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(out); err == nil && st.IsDir() {
		return nil, fmt.Errorf("%s is a folder: name the file to write", j.Out)
	}
	// Before anything that takes long: it says whether the folder can be written.
	half, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+"-*")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", j.Out, err)
	}
	w.program = half.Name()
	defer os.Remove(w.program) //nolint:errcheck // after a rename it is gone
	if err := half.Close(); err != nil {
		return nil, fmt.Errorf("write %s: %w", j.Out, err)
	}
	if tool.dir, err = os.MkdirTemp("", "edge-build-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(tool.dir) //nolint:errcheck // other files are in the folder for temporary files
	if err := w.make(); err != nil {
		return nil, err
	}
	if err := os.Rename(w.program, out); err != nil {
		return nil, fmt.Errorf("write %s: %w", j.Out, err)
	}
	w.result.Out = j.Out
	return &w.result, nil
}

// work is a Job under way. owned by the goroutine of Run.
type work struct {
	job     *Job
	ctx     context.Context
	tool    *tool
	edge    Module // with a Version or a Dir
	program string // the temporary file
	result  Result
}

// release matches versions that a go.mod can require: not versions of git describe, of a changed tree or of a version
// that is not out yet.
var (
	release   = expr(`^v?\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
	described = expr(`-\d+-g[0-9a-f]+$|-dirty$|-dev$`)
)

// chooseEdge finds out which edge is built: the edge that is named, else the edge that runs.
func (w *work) chooseEdge() error {
	for _, m := range w.job.Modules {
		if m.Path == Edge {
			if w.edge = m; m.Version == "" && m.Dir == "" {
				w.edge.Version = "latest"
			}
			return nil
		}
	}
	w.edge.Path = Edge
	v := w.job.Version
	if !release.compile().MatchString(v) || described.compile().MatchString(v) {
		return fmt.Errorf("%w: this program is a development build (%s), so name a version, --with %s@v1.2.3, "+
			"or a folder, --with %s=./edge", ErrDevelopment, v, Edge, Edge)
	}
	w.edge.Version = "v" + strings.TrimPrefix(v, "v")
	return nil
}

// make takes all steps between an empty folder and a program that has started.
func (w *work) make() error {
	w.step("look up modules")
	if err := w.writeModule(); err != nil {
		return err
	}
	if err := w.get(); err != nil {
		return err
	}
	if err := w.writePackage(); err != nil {
		return err
	}
	w.step("compile")
	if err := w.compile(); err != nil {
		return err
	}
	w.step("start it")
	return w.start()
}

func (w *work) step(text string) {
	if w.job.Step != nil {
		w.job.Step(text)
	}
}

// added are the modules beside edge.
func (w *work) added() []Module {
	return slices.DeleteFunc(slices.Clone(w.job.Modules), func(m Module) bool { return m.Path == Edge })
}

// replaced is the version that a go.mod requires of a module that a folder stands for.
const replaced = "v0.0.0"

// writeModule writes go.mod, and for modules in folders the sums that these know.
func (w *work) writeModule() error {
	if _, err := w.tool.run("mod", "init", own); err != nil {
		return err
	}
	var lines, sums strings.Builder
	for _, m := range append(w.added(), w.edge) {
		if m.Dir == "" {
			continue
		}
		name, err := w.tool.moduleIn(m)
		if err != nil {
			return err
		}
		version := replaced
		if release.compile().MatchString(m.Version) {
			version = m.Version
		} else if major := majorOf(name); major != "" {
			version = major + ".0.0"
		}
		fmt.Fprintf(&lines, "require %s %s\nreplace %s => %s\n", name, version, name, strconv.Quote(m.Dir))
		if text, err := os.ReadFile(filepath.Join(m.Dir, "go.sum")); err == nil {
			sums.Write(text)
		}
	}
	f, err := os.OpenFile(filepath.Join(w.tool.dir, "go.mod"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n" + lines.String())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.tool.dir, "go.sum"), []byte(sums.String()), 0o600)
}

// majorOf returns the "v9" at the end of a module's path, or "".
func majorOf(name string) string {
	last := name[strings.LastIndex(name, "/")+1:]
	if regexp.MustCompile(`^v[2-9]\d*$|^v1\d+$`).MatchString(last) {
		return last
	}
	return ""
}

// get asks the go command to choose versions of modules without a folder. Versions of edge are exact: a module that
// needs a newer edge is an error.
func (w *work) get() error {
	args := []string{"get"}
	for _, m := range append(w.added(), w.edge) {
		if m.Dir == "" {
			args = append(args, m.Path+"@"+cmp.Or(m.Version, "latest"))
		}
	}
	if len(args) == 1 {
		return nil
	}
	_, err := w.tool.run(args...)
	return w.explain(err)
}

func (w *work) compile() error {
	const variables = Edge + "/internal/base/build."
	var paths []string
	for _, m := range w.added() {
		paths = append(paths, m.Path)
	}
	version := cmp.Or(w.result.Edge.Version, "dev") // not the commit: the same versions make the same bytes
	flags := fmt.Sprintf("-s -w -X %sversion=%s -X %sadded=%s", variables, version, variables, strings.Join(paths, ","))
	_, err := w.tool.run("build", "-mod=mod", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", w.program, ".")
	if err != nil {
		return w.explain(err)
	}
	if err := os.Chmod(w.program, 0o755); err != nil { //nolint:gosec // it is a program
		return err
	}
	st, err := os.Stat(w.program)
	if err != nil {
		return err
	}
	w.result.Size, w.result.Go, w.result.Target = st.Size(), w.tool.version, w.tool.target
	return nil
}
