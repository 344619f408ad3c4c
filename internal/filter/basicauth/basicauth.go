package basicauth

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// Config is the keys of the filter. One of Users and File is needed.
type Config struct {
	Realm string `edge:"realm" doc:"Name that browsers show when they ask for the password." default:"restricted"`
	File  string `edge:"file" doc:"File of lines name:hash, reread on change." example:"/etc/edge/users" local:"true"`

	Users map[string]string `edge:"users" doc:"Users and their password hashes (edge hash-password)." secret:"true"`

	Forward bool `edge:"forward" doc:"Pass the field Authorization on to backends."`

	Remember time.Duration `edge:"remember" doc:"Time a right password is remembered." default:"1m" min:"0s" max:"1h"`
}

func init() {
	plugin.Register(plugin.Filters, "basic_auth", "Asks for a user and a password.", New)
}

// auth is a filter.
// Immutable but for what is atomic.
type auth struct {
	users     atomic.Pointer[users]
	file      string
	seen      atomic.Pointer[fs.FileInfo] // the file as it was read last
	looked    atomic.Int64                // reactor time at which the file was looked at
	complaint atomic.Pointer[string]      // what was logged about it last
	forward   bool
	remember  int64 // ns
	challenge proxy.Verdict
	busy      proxy.Verdict
	log       *slog.Logger

	remembered, verified, missing, malformed, wrong, refused *plugin.Counter
}

// Check finds users that are none.
func (c *Config) Check(r *plugin.Report) {
	for _, char := range c.Realm {
		if char < ' ' || char > '~' {
			r.At("realm").Errorf("", "%q is no printable character of ASCII", char)
			break
		}
	}
	switch {
	case len(c.Users) > 0 && c.File != "":
		r.At("file").Errorf("", "users are given as well: there is one list of them")
	case len(c.Users) == 0 && c.File == "":
		r.At("users").Errorf("", "neither users nor file is given: nobody could get through")
	}
	if _, err := inline(c.Users); err != nil {
		r.At("users").Errorf(`make a hash with "edge hash-password"`, "%v", err)
	}
}

// New makes the filter.
func New(c *Config, b *plugin.Build) (*proxy.Filter, error) {
	a := &auth{
		file: c.File, forward: c.Forward, remember: int64(c.Remember), log: b.Log(),
		busy:       proxy.RespondPage(503).With("Retry-After", "1"),
		remembered: b.Counter("remembered"), verified: b.Counter("verified"), missing: b.Counter("missing"),
		malformed: b.Counter("malformed"), wrong: b.Counter("wrong"), refused: b.Counter("busy"),
	}
	a.challenge = proxy.RespondPage(401).With("WWW-Authenticate", `Basic realm="`+quoted.Replace(c.Realm)+
		`", charset="UTF-8"`)
	list, info, err := c.users()
	if err != nil {
		return nil, err
	}
	a.users.Store(list)
	a.seen.Store(&info)
	return &proxy.Filter{Name: "basic_auth", Request: a.request}, nil
}

// users returns the users of the table, or the users of the file and the state of the file.
func (c *Config) users() (list *users, info fs.FileInfo, err error) {
	if c.File != "" {
		return readFile(c.File)
	}
	list, err = inline(c.Users)
	return list, nil, err
}

// quoted makes a quoted string: RFC 9110 §5.6.4.
var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// request lets a request with a password that is remembered through. Another password is verified by the pool, while
// the request is parked.
func (a *auth) request(x *proxy.Exchange) proxy.Verdict {
	if a.file != "" {
		a.look(x)
	}
	var room credentialsRoom
	c, o := read(&x.Request, &room)
	switch o {
	case missing:
		a.missing.Add(x)
		return a.challenge
	case malformed:
		a.malformed.Add(x)
		return a.challenge
	}
	list := a.users.Load()
	u := list.named[string(c.user)]
	if u != nil && a.remembers(u, c.whole, x.Reactor().Now()) {
		a.remembered.Add(x)
		return a.accept(x, u)
	}
	return a.verify(x, list, u, &c)
}

// remembers reports whether a password of u was verified, or used, a short time before now.
func (a *auth) remembers(u *user, whole []byte, now int64) bool {
	if a.remember == 0 {
		return false
	}
	seal := sealed(&u.id, whole)
	end, ok := remembered().Get(seal)
	if !ok || end <= now {
		return false
	}
	if end-now < a.remember/2 {
		remembered().Set(seal, now+a.remember)
	}
	return true
}

// verify parks x until the pool has looked at its password. u is nil where there is no such user.
func (a *auth) verify(x *proxy.Exchange, list *users, u *user, c *credentials) proxy.Verdict {
	judged := u
	if judged == nil {
		judged = list.likely(c.user)
	}
	ref, seal := x.Ref(), sealed(&judged.id, c.whole)
	decide := func(x *proxy.Exchange, same bool) proxy.Verdict {
		if u == nil || !same {
			a.wrong.Add(x)
			return a.challenge
		}
		if a.remember > 0 {
			remembered().Set(seal, x.Reactor().Now()+a.remember)
		}
		a.verified.Add(x)
		return a.accept(x, u)
	}
	if !shared().add(&attempt{
		ctx: x.Context(), from: x.ClientIP(), hash: judged.hash, password: bytes.Clone(c.password),
		done: func(same bool) {
			ref.ResumeWith(func(x *proxy.Exchange) proxy.Verdict { return decide(x, same) })
		},
		displaced: func() { ref.ResumeWith(a.refuse) },
	}) {
		return a.refuse(x)
	}
	return proxy.Park
}

// refuse answers a request whose password there is no room for.
func (a *auth) refuse(x *proxy.Exchange) proxy.Verdict {
	a.refused.Add(x)
	return a.busy
}

func (a *auth) accept(x *proxy.Exchange, u *user) proxy.Verdict {
	if !a.forward {
		x.Request.DelID(message.Authorization)
	}
	proxy.SetUser(x, u.name)
	x.LogField("user", u.name)
	return proxy.Next
}

// lookEvery is the time between two looks at the file. Tests shorten it.
var lookEvery = int64(time.Second)

// look makes a worker read the file again where it has changed. Until it has, the users are the same as before.
func (a *auth) look(x *proxy.Exchange) {
	now, before := x.Reactor().Now(), a.looked.Load()
	if now-before < lookEvery || !a.looked.CompareAndSwap(before, now) {
		return
	}
	_ = x.Reactor().Offload(&engine.Job{ // where there is no worker, a later request looks
		Do: func(context.Context) { a.reread() }, Done: engine.Task{Run: func(*engine.Reactor) {}},
	})
}

// reread reads the file again where it has changed. A wrong file changes nothing.
func (a *auth) reread() {
	info, err := os.Stat(a.file)
	if err == nil && unchanged(*a.seen.Load(), info) {
		return
	}
	var list *users
	if err == nil {
		list, info, err = readFile(a.file)
	}
	if err != nil {
		text := err.Error()
		if last := a.complaint.Swap(&text); last == nil || *last != text {
			a.log.Warn("the users stay as they were: their file cannot be read", "error", err)
		}
		return
	}
	a.complaint.Store(nil)
	a.users.Store(list)
	a.seen.Store(&info)
	a.log.Info("users were read again", "file", a.file, "users", len(list.list))
}

// unchanged reports whether a file is the file that was seen, and was not written to since.
func unchanged(seen, now fs.FileInfo) bool {
	return os.SameFile(seen, now) && seen.ModTime().Equal(now.ModTime()) && seen.Size() == now.Size()
}
