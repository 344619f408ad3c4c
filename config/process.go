package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// processKeys are those of [global] that say what becomes of the process before it serves.
func processKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "working_directory", Type: schema.Folder, Example: `"/var/lib/edge"`, Restart: true,
			Into: schema.Into(func(e *globalEntry) *string { return &e.WorkingDirectory }),
			Doc: "The folder that the process works in, an absolute path: where relative ones begin. Without it that " +
				"is the folder in which it was started."},
		{Path: "user", Type: typeAccount, Example: `"www-data"`, Restart: true,
			Into: schema.Into(func(e *globalEntry) *string { return &e.User }),
			Doc: "Whom a process that root started becomes before it accepts the first connection, by name or " +
				"number. See [rights](operations.md#rights)."},
		{Path: "group", Type: typeAccount, Example: `"www-data"`, Restart: true,
			Into: schema.Into(func(e *globalEntry) *string { return &e.Group }),
			Doc:  "Its group, by name or number; without it the first one of `user`."},
		{Path: "daemon", Type: schema.Bool, Default: "false", Example: "true", Restart: true,
			Into: schema.Into(func(e *globalEntry) *bool { return &e.Daemon }),
			Doc: "Serve in the background, like `edge -d`: the command ends when the process serves, and says what " +
				"keeps it from that. See [in the background](operations.md#in-the-background)."},
	}
}

// Identity is whom a process runs as.
type Identity struct {
	UID, GID int   // below 0: what it is
	Groups   []int // with a UID: all its groups
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

// become makes id the user of that name or number, with its own group unless there is one already.
func (id *Identity) become(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		number, isNumber := accountNumber(name)
		if !isNumber {
			return missing("user", name, err)
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

// groupOf returns the number of a group.
func groupOf(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err == nil {
		name = g.Gid
	}
	if n, isNumber := accountNumber(name); isNumber {
		return n, nil
	}
	return 0, missing("group", name, err)
}

// missing says that a name could not be looked up.
func missing(what, name string, err error) error {
	if errors.As(err, new(user.UnknownUserError)) || errors.As(err, new(user.UnknownGroupError)) {
		return fmt.Errorf("there is no %s %s", what, syntax.Quote(name))
	}
	return fmt.Errorf("cannot look up %s: %w", syntax.Quote(name), err)
}

// accountNumber reads the number of a user or group. The highest is none: system calls take it for "as it is".
func accountNumber(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return int(n), err == nil && n < 1<<32-1
}

// process checks what the file says of the process against this machine.
func (r *resolver) process() {
	g, c := &r.doc.global.Given, &r.c.Global
	if dir := c.WorkingDirectory; dir != "" && !g.Failed("working_directory") {
		at, err := os.Stat(dir)
		switch {
		case err != nil:
			r.rep.Errorf(g.At("working_directory"), "", "cannot use %s: %s", syntax.QuotePath(dir),
				syntax.WithoutPath(err))
		case !at.IsDir():
			r.rep.Errorf(g.At("working_directory"), "", "%s is no folder", syntax.QuotePath(dir))
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

// accounts returns the names in a file of users or groups, for hints.
func accounts(path string) (names []string) {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if name, _, found := strings.Cut(line, ":"); found {
			names = append(names, name)
		}
	}
	return names
}

// locate returns the path of a file that at names: from the working directory, or else beside the file at is in.
func (r *resolver) locate(path string, at syntax.Span) string {
	if filepath.IsAbs(path) || at.Source == nil {
		return path
	}
	beside := filepath.Join(filepath.Dir(at.Source.Name), path)
	if dir := r.c.Global.WorkingDirectory; dir != "" {
		path = filepath.Join(dir, path)
		if whole, err := filepath.Abs(beside); err == nil {
			beside = whole // where the process is when it opens the file, this is another place
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path
	}
	if _, err := os.Stat(beside); err == nil {
		return beside
	}
	return path
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
