package rules

import (
	"errors"
	"fmt"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/exchange/location"
	"github.com/edge-proxy/edge/internal/filter/ratelimit"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
)

// Rule says what is done with the requests that When holds for. Conditions and templates are of the phase Request,
// templates of AnswerFields of the phase Answer. The zero value of a field: that is not done. What it does, it does in
// the order of its fields.
type Rule struct {
	Name string          // for the access log, where the rule ends the request; "": none
	When *lang.Condition // nil: always

	Set           []Text            // texts of the exchange: see proxy.SetText
	Tag           string            // noted in the access log, with words of other rules, as "tags"
	NoLog         bool              // no access log has the request
	On, Off       Switches          // of filters that run, or do not
	Timeout       time.Duration     // for the whole exchange
	To            proxy.Destination // where the request goes, in place of where its route leads
	RequestFields []Text            // of the request that is sent on; a field that is nil or becomes empty is removed
	AnswerFields  []Text            // likewise of the answer
	Rewrite       *lang.Template    // of the target's path; the query stays unless the text has a "?" or names it
	Query         *Query            // of the target that a rewrite has left
	Cache         *cache.Choice     // what the rule says of the cache of the route; nil: nothing
	Limit         *ratelimit.Config // requests beyond it are refused, before what goes on with them; it does not delay

	// One of these ends the request. Tarpit goes before Deny or Drop: the client waits that long.
	Respond  *Respond
	Redirect *Redirect
	Deny     int // a status, 400 to 599, answered with the page for it
	Drop     bool
	Tarpit   time.Duration // with neither: 403 after it
}

// Text is a template with a name; without a Value it is empty.
type Text = config.Text

// Query changes parameters of a target. Names are compared decoded, values are encoded.
type Query struct {
	Del []string // taken away
	Set []Text   // put in place of all of that name
	Add []Text   // put after the others
}

// Respond is an answer.
type Respond struct {
	Status int            // 200 to 599
	Body   *lang.Template // nil: empty; values are escaped where Type is HTML, XML, JSON or JavaScript
	Type   string         // "": plain text
}

// Redirect is an answer that sends the client elsewhere.
type Redirect struct {
	To     *lang.Template // a URL, whose host is written out or {host}, or a path; the query stays as Rewrite says
	Status int            // 0: 308, which keeps the method
}

var (
	errNothing  = errors.New("it does nothing: give it an action")
	errSwitch   = errors.New("a switch is turned on or off, not both")
	errTwoEnds  = errors.New("of respond, redirect, deny and drop a rule has one")
	errTarpit   = errors.New("what follows a tarpit is deny or drop")
	errMoot     = errors.New("what a rule does with a request that it answers itself has no effect")
	errStatus   = errors.New("the status of an answer is 200 to 599")
	errDeny     = errors.New("the status of a refusal is 400 to 599")
	errRedirect = errors.New("the status of a redirect is 301, 302, 303, 307 or 308")
	errField    = errors.New("no name of a field that may be set")
	errTag      = errors.New("a tag is a word of letters, digits, \".\", \"_\" and \"-\"")
	errNowhere  = errors.New("a redirect says where to")
	errTime     = errors.New("a time is not below 0")
)

// Check returns what is wrong with r.
func (r *Rule) Check() error {
	for _, err := range []error{r.checkEnd(), r.checkFields(), r.checkTemplates()} {
		if err != nil {
			return err
		}
	}
	if r.Timeout < 0 || r.Tarpit < 0 {
		return errTime
	}
	for i := range len(r.Tag) {
		if c := r.Tag[i] | 0x20; (c < 'a' || c > 'z') && (r.Tag[i] < '0' || r.Tag[i] > '9') &&
			r.Tag[i] != '.' && r.Tag[i] != '_' && r.Tag[i] != '-' {
			return errTag
		}
	}
	return nil
}

// Ends reports whether r ends the requests that it holds for.
func (r *Rule) Ends() bool {
	return r.Respond != nil || r.Redirect != nil || r.Deny != 0 || r.Drop || r.Tarpit != 0
}

// sends reports whether r says something about the request that is sent on.
func (r *Rule) sends() bool {
	return r.Rewrite != nil || r.Query != nil || r.To != nil || r.Timeout != 0 || len(r.RequestFields) > 0 ||
		r.Limit != nil || r.Cache != nil
}

// notes reports whether r does something that is of use for requests that end with it, too.
func (r *Rule) notes() bool {
	return r.NoLog || r.Tag != "" || r.On|r.Off != 0 || len(r.Set)+len(r.AnswerFields) > 0
}

func (r *Rule) checkEnd() error {
	ends := 0
	for _, is := range []bool{r.Respond != nil, r.Redirect != nil, r.Deny != 0, r.Drop} {
		if is {
			ends++
		}
	}
	switch {
	case ends > 1:
		return errTwoEnds
	case r.Tarpit != 0 && (r.Respond != nil || r.Redirect != nil):
		return errTarpit
	case r.Ends() && r.sends():
		return errMoot
	case !r.Ends() && !r.sends() && !r.notes():
		return errNothing
	case r.On&r.Off != 0:
		return errSwitch
	case r.Deny != 0 && (r.Deny < 400 || r.Deny > 599):
		return errDeny
	case r.Respond != nil && (r.Respond.Status < 200 || r.Respond.Status > 599):
		return errStatus
	}
	if to := r.Redirect; to != nil {
		switch to.Status {
		case 0, 301, 302, 303, 307, 308:
		default:
			return errRedirect
		}
	}
	return nil
}

func (r *Rule) checkFields() error {
	for i, list := range [][]Text{r.RequestFields, r.AnswerFields} {
		for _, f := range list {
			id := message.Lookup(f.Name)
			host := id == message.Host && i == 0
			if !message.ValidName(f.Name) || !host && (id.Framing() || message.HopByHop(id) || id == message.Host) {
				return fmt.Errorf("field %q: %w", f.Name, errField)
			}
			if host && f.Value == nil {
				return fmt.Errorf("field %q: %w", f.Name, errField)
			}
		}
	}
	return nil
}

func (r *Rule) checkTemplates() error {
	if r.Rewrite != nil {
		if _, err := location.Path(r.Rewrite); err != nil {
			return fmt.Errorf("rewrite to %q: %w", r.Rewrite, err)
		}
	}
	if r.Redirect != nil {
		if r.Redirect.To == nil {
			return errNowhere
		}
		if _, err := location.Location(r.Redirect.To); err != nil {
			return fmt.Errorf("redirect to %q: %w", r.Redirect.To, err)
		}
	}
	return nil
}

// templates returns every template of r that is evaluated when it holds.
func (r *Rule) templates() (list []*lang.Template) {
	texts := [][]Text{r.Set, r.RequestFields}
	if q := r.Query; q != nil {
		texts = append(texts, q.Set, q.Add)
	}
	for _, t := range texts {
		for i := range t {
			list = append(list, t[i].Value)
		}
	}
	list = append(list, r.Rewrite)
	if r.Limit != nil {
		list = append(list, r.Limit.Key)
	}
	if r.Respond != nil {
		list = append(list, r.Respond.Body)
	}
	if r.Redirect != nil {
		list = append(list, r.Redirect.To)
	}
	return list
}

func namesMatch(t *lang.Template) bool { return t != nil && t.NamesMatch() }
