package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/base/pidfile"
	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/server/admin"
)

// live returns an error unless the process answers, or its pid file names a process that runs.
func (a *asking) live() error {
	err := a.ask("GET", "/livez", nil, nil)
	if err != nil {
		_, err = a.byPIDFile(err)
	}
	if err != nil {
		return fmt.Errorf("not live: %w", err)
	}
	return nil
}

// byPIDFile finds the process that no admin surface leads to: err says why.
func (a *asking) byPIDFile(err error) (*pidfile.Instance, error) {
	if a.elsewhere() || !isUnknown(err) {
		return nil, err
	}
	i, _, found := a.find()
	if errors.Is(err, admin.ErrNoAnswer) && errors.Is(found, errNoPIDFile) {
		found = err
	}
	return i, found
}

// status prints whether the process runs, and how it does where it says so.
func (a *asking) status(out io.Writer) error {
	var st admin.Status
	err := a.ask("GET", "/v1/status", nil, &st)
	switch {
	case err == nil && a.json:
		return printStatusJSON(out, &st)
	case err == nil:
		return printStatus(out, &st)
	}
	i, err := a.byPIDFile(err)
	if err != nil {
		return a.notRunning(out, err)
	}
	if a.json {
		return printJSON(out, map[string]any{
			"running": true, "pid": i.PID, "since": i.Since.UTC().Format(time.RFC3339),
		})
	}
	_, err = fmt.Fprintln(out, runsText(i.PID, i.Since))
	return err
}

// runsText is the first line about a process.
func runsText(pid int, since time.Time) string {
	return fmt.Sprintf("edge: runs as process %d since %s (%v)", pid, since.Local().Format(time.DateTime),
		time.Since(since).Round(time.Second))
}

// notRunning tells that no process was found.
func (a *asking) notRunning(out io.Writer, why error) error {
	if !a.json {
		return why
	}
	return cmp.Or[error](printJSON(out, map[string]any{"running": false, "reason": why.Error()}), exit(exitError))
}

// printStatusJSON prints what the process says, with what is said of a process that has no admin surface.
func printStatusJSON(out io.Writer, st *admin.Status) error {
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	all := map[string]any{}
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	all["running"], all["since"] = true, st.Started.UTC().Format(time.RFC3339)
	return printJSON(out, all)
}

// printStatus prints what the process says, for people.
func printStatus(w io.Writer, st *admin.Status) error {
	fmt.Fprintln(w, runsText(st.PID, st.Started))
	printable.Printf(w, "  version        %s, %d event loops, %s\n", cmp.Or(st.Version, "unknown"),
		st.Reactors, st.State)
	c := &st.Configuration
	printable.Printf(w, "  configuration  %s, version %d, applied %s\n", cmp.Or(c.File, "no file"), c.Version,
		c.Applied.Local().Format(time.DateTime))
	if c.Differs {
		printable.Printf(w, "  %-15sthe files say otherwise: edge diff shows how, the next reload applies them\n", "")
	}
	printable.Printf(w, "  connections    %d\n", st.Connections)
	for i := range st.Listeners {
		l := &st.Listeners[i]
		what, kind := "listener", "http"
		switch {
		case l.Service && l.TLS:
			what, kind = "service", "tls"
		case l.Service:
			what, kind = "service", "plain"
		case l.TLS:
			kind = "https"
		}
		switch l.HTTP3 {
		case "":
		case "open":
			kind += " and HTTP/3"
		default:
			kind += ", HTTP/3 " + l.HTTP3
		}
		printable.Printf(w, "  %-14s %s at %s, %s, %d open\n", what, l.Name, l.Address, kind, l.Connections)
	}
	for _, u := range st.Upstreams {
		printable.Printf(w, "  upstream       %s: %d of %d backends serve\n", u.Name, u.Serving, u.Backends)
	}
	for i := range st.Certificates {
		c := &st.Certificates[i]
		printable.Printf(w, "  certificate    %s stays, its files are wrong: %s\n", c.Subject, c.Wrong)
	}
	for i := range st.Foreign {
		printable.Printf(w, "  foreign        %s\n", foreignText(&st.Foreign[i]))
	}
	if st.Log.Until != nil {
		printable.Printf(w, "  log            %s until %s\n", st.Log.Level, st.Log.Until.Local().Format(time.TimeOnly))
	}
	for _, at := range st.Admin {
		if _, err := printable.Printf(w, "  admin          %s\n", at); err != nil {
			return err
		}
	}
	return nil
}

// foreignText says what a socket of another process does, and what to do.
func foreignText(f *admin.ForeignSocket) string {
	who := "a process that this user does not see"
	if f.PID != 0 {
		who = fmt.Sprintf("%s, process %d,", f.Name, f.PID)
	}
	text := fmt.Sprintf("%s listens on %s too and gets a part of the connections", who, f.Address)
	switch {
	case f.Stopped:
		return fmt.Sprintf("%s, which wait: it is stopped: kill -CONT %d, or kill -KILL %[2]d", text, f.PID)
	case f.PID == 0:
		_, port, _ := strings.Cut(f.Address[strings.LastIndexByte(f.Address, ']')+1:], ":")
		return fmt.Sprintf("%s: sudo ss -ltnp 'sport = :%s' names it", text, port)
	}
	return fmt.Sprintf("%s: kill %d ends it", text, f.PID)
}
