package assemble

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// tool is the go command. owned by the goroutine of Run.
type tool struct {
	ctx             context.Context
	path            string // of the command
	dir             string // of the module that is written
	version, target string // "go1.26.8", "linux/amd64"
}

// newTool finds the go command in PATH, and asks it who it is.
func newTool(ctx context.Context) (*tool, error) {
	const needs = "it compiles edge, so put Go 1.26 or newer into PATH (https://go.dev/dl, or the image golang:1.26)"
	name, err := exec.LookPath("go")
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrNoGo, needs)
	}
	t := &tool{ctx: ctx, path: name}
	out, err := t.run("env", "-json", "GOVERSION", "GOOS", "GOARCH")
	if err != nil {
		return nil, fmt.Errorf("%w that works: %s; %s", ErrNoGo, err, needs)
	}
	var env struct{ GOVERSION, GOOS, GOARCH string }
	if err := json.Unmarshal(out, &env); err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	t.version, t.target = env.GOVERSION, env.GOOS+"/"+env.GOARCH
	return t, nil
}

// failure is what a command has printed before it failed. The exit code of the command is not the exit code of edge.
type failure struct {
	what string // "go build"
	out  string
	err  error
}

// Error returns the first lines.
func (f *failure) Error() string {
	if text := firstLines(f.out); text != "" {
		return f.what + ": " + text
	}
	return f.what + ": " + f.err.Error()
}

// linesShown and bytesShown bound what an error repeats of the output of a command.
const (
	linesShown = 12
	bytesShown = 4096
)

// firstLines returns the begin of an output, further lines indented.
func firstLines(out string) string {
	if len(out) > bytesShown {
		out = out[:bytesShown]
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if more := len(lines) - linesShown; more > 0 {
		lines = append(lines[:linesShown], fmt.Sprintf("… %d more lines", more))
	}
	return strings.Join(lines, "\n  ")
}

// chatter matches what the go command prints while nothing is wrong.
var chatter = expr(`(?m)^(go: (downloading|added|upgraded|downgraded|finding|creating)|#) .*\n`)

// run runs the go command in the module and returns what it printed. GOFLAGS, GOPROXY, GOPRIVATE and the like are taken
// from this process.
func (t *tool) run(args ...string) ([]byte, error) { return t.runIn(t.dir, args...) }

func (t *tool) runIn(dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(t.ctx, t.path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GO111MODULE=on", "CGO_ENABLED=0", "PWD="+dir)
	if os.Getenv("GOTMPDIR") == "" {
		cmd.Env = append(cmd.Env, "GOTMPDIR="+t.dir) // an interrupted one may leave files
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	if t.ctx.Err() != nil {
		return nil, context.Cause(t.ctx)
	}
	if err != nil {
		text := chatter.compile().ReplaceAllString(problems.String(), "")
		if t.dir != "" {
			text = strings.ReplaceAll(text, t.dir+string(os.PathSeparator), "")
		}
		return nil, &failure{"go " + args[0], text, err}
	}
	return out.Bytes(), nil
}

func (t *tool) moduleIn(m Module) (string, error) {
	if st, err := os.Stat(m.Dir); err != nil {
		return "", fmt.Errorf("module %s: %w", m, err)
	} else if !st.IsDir() {
		return "", fmt.Errorf("module %s: %s is not a folder", m, m.Dir)
	}
	out, err := t.runIn(m.Dir, "mod", "edit", "-json", "go.mod")
	if errors.As(err, new(*failure)) {
		return "", fmt.Errorf("module %s: its folder has no go.mod that can be read: %w", m, err)
	}
	if err != nil {
		return "", err
	}
	var file struct{ Module struct{ Path string } }
	if err := json.Unmarshal(out, &file); err != nil {
		return "", fmt.Errorf("go mod edit: %w", err)
	}
	if name := file.Module.Path; m.Path != name && !strings.HasPrefix(m.Path, name+"/") {
		return "", fmt.Errorf("module %s: the module in this folder is %s", m, name)
	}
	return file.Module.Path, nil
}
