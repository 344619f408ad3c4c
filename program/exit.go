package program

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/process"
	"github.com/edge-proxy/edge/internal/server"
)

// stderr is where a program prints for people. A pipe that is not read keeps it neither from serving nor from ending.
var stderr io.Writer = observe.NewBounded(os.Stderr, 2*time.Second)

// name returns the name of the program in messages.
func name() string { return filepath.Base(os.Args[0]) }

// Exit codes.
const (
	exitError    = 1
	exitWarnings = 2
	exitUsage    = 2
)

// Code is an exit code, for an error that the operator was told of.
type Code int

// Error names the code.
func (c Code) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// ConfigError says what is wrong with a configuration.
type ConfigError struct{ Report *config.Report }

// Error returns all findings, as they are printed.
func (e *ConfigError) Error() string {
	var text strings.Builder
	_ = e.Report.Render(&text)
	return strings.TrimRight(text.String(), "\n")
}

// Exit ends the process with what Run has returned: 0 for nil; 1 after it has printed the error, unless the operator
// knows it; the code of a daemon that ended before it served; 2 for warnings that Check was to be strict about.
func Exit(err error) { os.Exit(Conclude(stderr, name(), err)) }

// Conclude prints an error of Run to w, unless the operator was told, and returns the exit code. name stands before it.
func Conclude(w io.Writer, name string, err error) int {
	var code Code
	var daemon *process.DaemonError
	var wrong *ConfigError
	var address *server.ListenError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &daemon):
		return daemon.Code
	case errors.As(err, &wrong):
		_ = wrong.Report.Render(w) // no reader is left
		return exitError
	}
	text := fmt.Sprintln(name+":", err)
	if errors.As(err, &address) && len(address.Try) > 0 {
		indent := strings.Repeat(" ", len(name)+2)
		text += indent + strings.Join(address.Try, "\n  "+indent) + "\n"
	}
	fmt.Fprint(w, printable.Text(text))
	return exitError
}
