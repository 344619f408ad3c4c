package assemble

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const startTimeout = time.Minute

// Report is what "edge modules --json" prints.
type Report struct {
	Edge    string   `json:"edge"` // its version
	Modules []Linked `json:"modules"`
	Types   []Type   `json:"types"`
}

// Type is a registered type in a program.
type Type struct {
	Kind   string `json:"kind"` // "filters"
	Name   string `json:"name"`
	Doc    string `json:"doc"`
	Module string `json:"module"` // its path
}

// start makes the program read an empty configuration and list its modules.
func (w *work) start() error {
	if w.tool.target != runtime.GOOS+"/"+runtime.GOARCH {
		return nil
	}
	empty := filepath.Join(w.tool.dir, "empty.toml")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		return err
	}
	if _, err := w.runProgram("check", "-c", empty); err != nil {
		return err
	}
	out, err := w.runProgram("modules", "--json")
	if err != nil {
		return err
	}
	var r Report
	if err := json.Unmarshal(out, &r); err != nil {
		return fmt.Errorf("what the new program says of its modules: %w", err)
	}
	for i := range w.result.Modules {
		for _, m := range r.Modules {
			if m.Path == w.result.Modules[i].Path {
				w.result.Modules[i].Types = m.Types
			}
		}
	}
	w.result.Started = true
	return nil
}

func (w *work) runProgram(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(w.ctx, startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.program, args...)
	cmd.Dir, cmd.WaitDelay = w.tool.dir, time.Second
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	switch {
	case w.ctx.Err() != nil:
		return nil, context.Cause(w.ctx)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("the new program does not end within %v after edge %s: a module may wait in its init",
			startTimeout, args[0])
	case err == nil:
		return out.Bytes(), nil
	}
	if text, ok := panicIn(problems.String()); ok {
		return nil, fmt.Errorf("the new program does not start: %s", text)
	}
	return nil, fmt.Errorf("the new program does not start: %w", &failure{"edge " + args[0], problems.String(), err})
}

// panicIn returns what a panic says, with the function that panicked: no stack.
func panicIn(out string) (text string, ok bool) {
	_, rest, ok := strings.Cut("\n"+out, "\npanic: ")
	if !ok {
		return "", false
	}
	message, stack, _ := strings.Cut(rest, "\ngoroutine ")
	return "panic: " + firstLines(message) + frameOf(stack), true
}

// frameOf returns the first function of a stack that belongs to neither Go nor edge, with its place.
func frameOf(stack string) string {
	lines := strings.Split(stack, "\n")
	for i := 0; i+1 < len(lines); i++ {
		place, isPlace := strings.CutPrefix(lines[i+1], "\t")
		name, _, isCall := strings.Cut(lines[i], "(")
		first, _, _ := strings.Cut(name, "/")
		if !isPlace || !isCall || first == name || !strings.Contains(first, ".") || strings.HasPrefix(name, Edge+"/") {
			continue
		}
		place, _, _ = strings.Cut(place, " ")
		return fmt.Sprintf("\n  in %s, %s", name, place)
	}
	return ""
}
