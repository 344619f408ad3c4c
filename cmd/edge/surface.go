package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/pidfile"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server/admin"
)

// asking is how a command finds the admin surface of the running process.
type asking struct {
	control
	address string // of --admin
	json    bool
}

const asksText = "The process is asked over its admin surface. It is found by --admin, else by EDGE_ADMIN, else by " +
	"[admin] listen of the configuration, which is looked for as edge run does it, else at the sockets that " +
	"a process without it has: /run/edge/admin.sock, one beside the pid file, or one in XDG_RUNTIME_DIR, where that " +
	"is not set in /tmp/edge-UID. Over TCP the token is taken from EDGE_ADMIN_TOKEN, else from the configuration."

func (a *asking) flags(cmd *cobra.Command) {
	a.control.flags(cmd)
	cmd.Flags().StringVar(&a.address, "admin", "", "the `address` of the admin surface: unix:/path, host:port or "+
		"https://host:port")
	cmd.Flags().BoolVar(&a.json, "json", false, "print the answer as JSON")
}

// elsewhere reports whether the process is named by its admin surface alone: it may be on another machine.
func (a *asking) elsewhere() bool { return a.address != "" || os.Getenv("EDGE_ADMIN") != "" }

// errNoSurface says that a process is not found by an admin surface: there may be one with a pid file.
var errNoSurface = errors.New("no admin surface is known: give --admin, or add two lines to the configuration, " +
	"start edge again with it, and ask about a new request:\n[admin]\nlisten = \"unix:edge.admin.sock\"")

// client returns a client of the process. It was not asked yet. It wraps errNoSurface where only the pid file can
// lead to the process. A file with errors names the process too, if it can be read so far: that is when an operator
// asks for a rollback.
func (a *asking) client() (*admin.Client, error) {
	path, ignored := a.locate()
	if path == "" {
		return a.clientFor("", nil, true)
	}
	from := a.sources
	from.textOnly, from.partial = true, true
	cfg, report := from.load(path, ignored)
	return a.clientFor(path, cfg, report.OK())
}

// clientFor is client where the configuration at path was read; nil: there is none. whole says that it has no errors.
func (a *asking) clientFor(path string, cfg *config.Config, whole bool) (*admin.Client, error) {
	if address := cmp.Or(a.address, os.Getenv("EDGE_ADMIN")); address != "" {
		t := admin.Target{Address: address, Token: os.Getenv("EDGE_ADMIN_TOKEN")}
		if cfg != nil {
			own, trust := admin.CredentialsOf(cfg)
			if t.Token == "" || !strings.Contains(address, "://") { // https:// with a token may be another machine
				t.Trust = trust
			}
			t.Token = cmp.Or(t.Token, own)
		}
		return admin.NewClient(t)
	}
	if cfg != nil {
		t, given, off := admin.TargetOf(cfg)
		switch {
		case off:
			return nil, errNoSurface
		case given:
			t.Token = cmp.Or(os.Getenv("EDGE_ADMIN_TOKEN"), t.Token)
			return admin.NewClient(t)
		}
	}
	if !whole && a.conf != "" {
		return nil, fmt.Errorf("%s has errors, so its admin surface is not known: edge check %[1]s shows them, "+
			"--admin names the surface: %w", path, errNoSurface)
	}
	if a.pidFile != "" {
		return nil, errNoSurface
	}
	return usual(path, cfg)
}

// statusTime is how long a process at one of the usual sockets may take to say which one it is.
const statusTime = 10 * time.Second

// usual returns a client of that socket of processes without [admin] listen where the process of cfg serves: the file,
// or the pid file, says so. path is the file, "": there is none, and any process will do. A process that refuses this
// user, or does not answer, is another one as long as a later socket or the pid file can lead to the right one.
func usual(path string, cfg *config.Config) (*admin.Client, error) {
	g := &config.Global{}
	if cfg != nil {
		g = &cfg.Global
	}
	sockets := admin.DefaultSockets(g)
	none := errNoSurface
	if len(sockets) > 0 {
		none = fmt.Errorf("nobody answers at %s: %w", strings.Join(sockets, ", "), errNoSurface)
	}
	for _, socket := range sockets {
		c, err := admin.NewClient(admin.Target{Address: "unix:" + socket})
		var st admin.Status
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), statusTime)
			err = c.Do(ctx, "GET", "/v1/status", nil, &st)
			cancel()
		}
		switch {
		case errors.Is(err, admin.ErrNoAnswer):
		case err != nil && g.PIDFile != "":
			none = fmt.Errorf("%w: %w", err, errNoSurface)
		case err != nil:
			none = err
		case path == "", serves(&st, path, g):
			return c, nil
		default:
			none = fmt.Errorf("the process %d at %s serves %s, not %s: %w", st.PID, socket,
				cmp.Or(st.Configuration.File, "no file"), path, errNoSurface)
		}
	}
	return nil, none
}

func serves(st *admin.Status, path string, g *config.Global) bool {
	if i, err := pidfile.Find(g.FromWorkingDirectory(g.PIDFile)); err == nil {
		return i.PID == st.PID
	}
	// There is none, or the kernel hides what the process has open: its file has to do.
	full, err := filepath.Abs(path)
	return err == nil && full == st.Configuration.File
}

// tell asks an operation and prints its answer, as JSON or by table.
func tell[T any](a *asking, out io.Writer, method, path string, in any, table func(w io.Writer, answer *T)) error {
	var answer T
	if err := a.ask(method, path, in, &answer); err != nil {
		return err
	}
	return a.show(out, &answer, func(w io.Writer) { table(w, &answer) })
}

// show prints an answer as JSON, or as a table whose columns are separated by tabs.
func (a *asking) show(out io.Writer, v any, table func(w io.Writer)) error {
	if a.json {
		return printJSON(out, v)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// ask asks an operation. Where there is no surface the error says so.
func (a *asking) ask(method, path string, in, out any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return c.Do(context.Background(), method, path, in, out)
}
