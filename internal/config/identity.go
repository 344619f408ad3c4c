package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

// The types of keys about accounts and files. The comment after each is the Go type of its values.
var (
	typeAccount  = schema.Type{Name: "name or number", Parse: parseAccountValue} // string
	typeFileMode = schema.Type{Name: "octal string", Parse: parseFileModeValue}  // fs.FileMode
	typeOwner    = schema.Type{Name: "user:group", Parse: schema.TextOf("a user, or user:group", ownerOf)}
)

// typeLockdown reads a Lockdown.
var typeLockdown = schema.Type{Name: "`true`, `false` or `\"strict\"`", Parse: parseLockdown, Truth: true}

// Identity is the user, the group and the further groups of a process.
type Identity struct {
	UID, GID int   // below 0: unchanged
	Groups   []int // the further groups; unchanged unless there is a UID
}

// Identity looks up what user and group stand for on this machine; nil when neither is set.
func (g *Global) Identity() (*Identity, error) {
	if g.User == "" && g.Group == "" {
		return nil, nil
	}
	id := &Identity{UID: -1, GID: -1}
	if g.Group != "" {
		gid, err := groupOf(g.Group)
		if err != nil {
			return nil, fmt.Errorf("group: %w", err)
		}
		id.GID = gid
	}
	if g.User != "" {
		if err := id.become(g.User); err != nil {
			return nil, fmt.Errorf("user: %w", err)
		}
	}
	return id, nil
}

var errNoGroup = errors.New("the user database does not know the number, so group has to be set too")

// become sets the user to the user of a name or number, and the group to its own unless there is one already.
func (id *Identity) become(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		number, isNumber := accountNumber(name)
		if !isNumber {
			return lookupError("user", name, err)
		}
		id.UID = number
		if u, err = user.LookupId(name); err != nil {
			if id.GID < 0 {
				return errNoGroup
			}
			id.Groups = []int{id.GID}
			return nil
		}
	}
	if id.GID >= 0 {
		u.Gid = strconv.Itoa(id.GID)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return err
	}
	for _, text := range append([]string{u.Uid, u.Gid}, groups...) {
		n, isNumber := accountNumber(text)
		if !isNumber {
			return fmt.Errorf("%s has the number %s", syntax.Quote(name), syntax.Quote(text))
		}
		id.Groups = append(id.Groups, n)
	}
	id.UID, id.GID, id.Groups = id.Groups[0], id.Groups[1], id.Groups[2:]
	return nil
}

// mayRun reports whether a process of this user may serve the configuration: then what it may not read or write keeps
// it from that. Any other process only looks.
func (g *Global) mayRun() bool {
	id, err := g.Identity()
	me := os.Geteuid()
	return me == 0 || err == nil && (id == nil || id.UID < 0 || id.UID == me)
}

func groupOf(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err == nil {
		name = g.Gid
	}
	if n, isNumber := accountNumber(name); isNumber {
		return n, nil
	}
	return 0, lookupError("group", name, err)
}

// lookupError returns why a name could not be looked up.
func lookupError(what, name string, err error) error {
	if errors.As(err, new(user.UnknownUserError)) || errors.As(err, new(user.UnknownGroupError)) {
		return fmt.Errorf("there is no %s %s", what, syntax.Quote(name))
	}
	return fmt.Errorf("cannot look up %s: %w", syntax.Quote(name), err)
}

// accountNumber reads the number of a user or group. The highest is not allowed: system calls take it for "unchanged".
func accountNumber(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return int(n), err == nil && n < 1<<32-1
}

// accounts returns the names in /etc/passwd or /etc/group, for hints.
func accounts(path string) (names []string) {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if name, _, found := strings.Cut(line, ":"); found {
			names = append(names, name)
		}
	}
	return names
}

// Lockdown says whether a process gives up what it does not need.
type Lockdown uint8

// The values of Lockdown.
const (
	LockdownOff    Lockdown = iota
	LockdownOn              // as far as the kernel goes
	LockdownStrict          // all of it, or the process does not start
)

// String returns "false", "true" or "strict".
func (l Lockdown) String() string { return [...]string{"false", "true", "strict"}[l] }

// MarshalText makes the value readable in JSON.
func (l Lockdown) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func parseLockdown(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	switch {
	case n.Kind == syntax.KindBool && n.Truth:
		return LockdownOn, true
	case n.Kind == syntax.KindBool:
		return LockdownOff, true
	case n.Kind == syntax.KindString && n.Text == "strict":
		return LockdownStrict, true
	case n.Kind == syntax.KindString:
		d.Report.Errorf(n.Value, syntax.DidYouMean(n.Text, []string{"strict"}),
			"%q must be true, false or \"strict\", not %s", n.Key, syntax.Quote(n.Text))
		return LockdownOff, false
	}
	d.WrongKind(n, `true, false or "strict"`, "")
	return LockdownOff, false
}

func parseAccountValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind != syntax.KindInt {
		return d.String(n, "a name or a number")
	}
	s := strconv.FormatInt(n.Integer, 10)
	if _, isNumber := accountNumber(s); !isNumber {
		d.Report.Errorf(n.Value, "", "%s is no number of a %s", s, n.Key)
		return "", false
	}
	return s, true
}

// ownerOf reads "user", "user:group" or ":group".
func ownerOf(s string) (owner Account, wrong, hint string) {
	user, group, _ := strings.Cut(s, ":")
	owner = Account{Text: s, UID: -1, GID: -1}
	if user == "" && group == "" {
		return owner, fmt.Sprintf("%q names neither a user nor a group", s), `write it as "www-data:www-data"`
	}
	if group != "" {
		gid, err := groupOf(group)
		if err != nil {
			return owner, err.Error(), syntax.DidYouMean(group, accounts("/etc/group"))
		}
		owner.GID = gid
	}
	if user != "" {
		id := Identity{UID: -1, GID: owner.GID}
		if err := id.become(user); err != nil {
			return owner, err.Error(), syntax.DidYouMean(user, accounts("/etc/passwd"))
		}
		owner.UID, owner.GID = id.UID, id.GID
	}
	return owner, "", ""
}

// parseFileModeValue reads the rights of a file as chmod(1) takes them.
func parseFileModeValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	const hint = "write it as \"0660\""
	if n.Kind == syntax.KindInt {
		d.Report.Errorf(n.Value, hint, "%q must be a string, so that all formats read it as octal", n.Key)
		return nil, false
	}
	s, ok := d.String(n, "an octal number in a string")
	if !ok {
		return nil, false
	}
	mode, err := strconv.ParseUint(s, 8, 32)
	if err != nil || mode == 0 || mode > 0o777 {
		d.Report.Errorf(n.Value, hint, "%s is not an octal number up to 0777", syntax.Quote(s))
		return nil, false
	}
	return fs.FileMode(mode), true
}

// checkProcess checks the working directory, the user and the group against this machine.
func (r *resolver) checkProcess() {
	g, c := &r.doc.global.Given, &r.c.Global
	if dir := c.WorkingDirectory; dir != "" && !g.Failed("working_directory") {
		at, err := os.Stat(dir)
		switch {
		case err != nil:
			r.rep.Errorf(g.At("working_directory"), "make it, or leave it out", "cannot use %s: %s",
				syntax.QuotePath(dir),
				syntax.WithoutPath(err))
		case !at.IsDir():
			r.rep.Errorf(g.At("working_directory"), "name the folder that it is in", "%s is no folder",
				syntax.QuotePath(dir))
		}
	}
	if _, err := (&Global{Group: c.Group}).Identity(); err != nil {
		r.rep.Errorf(g.At("group"), syntax.DidYouMean(c.Group, accounts("/etc/group")), "%s", errors.Unwrap(err))
		return
	}
	if _, err := c.Identity(); err != nil {
		r.rep.Errorf(g.At("user"), syntax.DidYouMean(c.User, accounts("/etc/passwd")), "%s", errors.Unwrap(err))
	}
}
