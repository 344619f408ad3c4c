package health

import (
	"bytes"
	"log/slog"
	"strconv"

	"github.com/edge-proxy/edge/backend"
)

// lineMax is how many bytes of an agent are read.
const lineMax = 1 << 10

// An agent runs beside a member and says what the member is to get, in one line of words (HAProxy's agent-check):
//
//	75%                  the part of its weight
//	drain, maint         it is to get no new requests, until: ready
//	down, fail, stopped  the same, until: up; after a # they say why
//	maxconn:30           is passed over
//
// What a line does not say stays as it was. An agent that does not answer changes nothing: whether the member serves is
// for checks to find out.

// stance is what an agent has said last of whether its member is to get requests. The zero value is that it is.
// Owned by the reactor of its probe.
type stance struct {
	drain bool // clients whose cookie names the member may still have it
	maint bool
	down  bool
}

// readLine reads the line of an agent whose last stance was s. part is below 0 where it says nothing of the weight.
// ok is false where it has no word that is known.
func readLine(line []byte, s stance) (next stance, part float64, ok bool) {
	next, part = s, -1
	line, _, _ = bytes.Cut(line, []byte("#"))
	for _, word := range bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		known := true
		switch text := string(bytes.ToLower(word)); text {
		case "ready":
			next.drain, next.maint = false, false
		case "drain":
			next.drain, next.maint = true, false
		case "maint":
			next.drain, next.maint = false, true
		case "up":
			next.down = false
		case "down", "fail", "stopped":
			next.down = true
		default:
			percent, isPart := bytes.CutSuffix(word, []byte("%"))
			n, err := strconv.ParseUint(string(percent), 10, 16)
			if known = isPart && err == nil; known {
				part = min(float64(n)/100, 1)
			}
		}
		ok = ok || known
	}
	return next, part, ok
}

// heard takes what the agent has said.
func (p *probe) heard(line []byte) {
	if p.state != asking {
		return
	}
	next, part, ok := readLine(line, p.stance)
	if !ok {
		p.fail(finding{word: agentWord, outcome: Failed, got: quote(line)})
		return
	}
	p.watch.stats.passed.Add(1)
	p.agentAnswers(true, finding{})
	now := p.local.reactor.Now()
	p.settle(now, Result{Outcome: Passed, Began: p.began})
	p.stance = next
	why := backend.Why{Word: words[agentWord], Facts: []slog.Attr{slog.String("got", quote(line))}}
	if part >= 0 {
		p.member.SetPart(backend.PartAgent, part) // before it serves by the part that it had
	}
	out := next.maint || next.down
	if out {
		p.member.Mark(backend.Agent, true, why)
	}
	p.member.Mark(backend.AgentDrain, next.drain, why)
	if !out { // from maint to drain it serves at no moment
		p.member.Mark(backend.Agent, false, why)
	}
}

// notHeard ends a check in which the agent said nothing that can be understood, for f.
func (p *probe) notHeard(f finding) {
	p.agentAnswers(false, f)
	p.settle(p.local.reactor.Now(), Result{Outcome: Passed, Began: p.began})
}

// agentAnswers tells the log when the agent begins or ceases to answer.
func (p *probe) agentAnswers(does bool, f finding) {
	if p.mute == !does {
		return
	}
	p.mute = !does
	attrs := []any{"upstream", p.plan.Name, "backend", p.member.Address()}
	if does {
		slog.Info("the agent of a backend answers again", attrs...)
		return
	}
	attrs = append(attrs, "reason", words[f.word])
	if f.got != "" {
		attrs = append(attrs, "got", f.got)
	}
	slog.Warn("the agent of a backend does not answer: what it said last holds", attrs...)
}

// forgetAgent takes away what the agent of m has said.
func forgetAgent(m *backend.Member) {
	why := backend.Why{Facts: []slog.Attr{slog.String("by", "checks are off")}}
	m.Mark(backend.Agent, false, why)
	m.Mark(backend.AgentDrain, false, why)
	m.SetPart(backend.PartAgent, 1)
}
