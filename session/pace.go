package session

import (
	"errors"
	"math"
	"time"
)

// Defaults of the least rate of a request body. The rate is Kestrel's; nobody types slower, and 1000 connections that
// keep to it are 240 kB/s of traffic that shows.
const (
	bodyRateDefault = 240              // bytes a second
	bodyGrace       = 10 * time.Second // credit that every body begins with
)

// ErrSlowBody is why an exchange is reset whose request body comes too slowly.
var ErrSlowBody = errors.New("the request body took too long")

// pace is the credit of a client that sends a body: time that it may still take. It shrinks while the client owes
// bytes, not while these wait for us, and grows with each byte.
//
//	since != 0 <=> it shrinks, from that time of the reactor on
type pace struct {
	credit, since int64
	unhurried     bool // by Unhurry
	begun         bool // of an answer: the client did not take it at once
}

// begin gives the credit that every body begins with.
func (p *pace) begin() { p.credit, p.since = int64(bodyGrace), 0 }

// paid adds what n bytes are worth, up to limit.
func (p *pace) paid(n int, perByte, limit, now int64) {
	p.rest(now)
	p.credit = min(p.credit+int64(n)*perByte, limit)
}

// renew gives again the credit that every body begins with.
func (p *pace) renew(now int64) {
	p.paid(0, 0, math.MaxInt64, now)
	p.credit = max(p.credit, int64(bodyGrace))
}

// Unhurried is a Stream whose peer may take its time with its body: one of messages, which come when there is something
// to say.
type Unhurried interface {
	// Unhurry lifts the least rate off the body that is to come. Its silence is bounded like that of a tunnel; that of
	// a request until the answer begins: from then on who answers says how long it lasts.
	Unhurry()
}

// left returns what the client may still take, at least 1; from now on the credit shrinks.
func (p *pace) left(now int64) time.Duration {
	if p.since == 0 {
		p.since = now
	}
	return time.Duration(max(p.credit-(now-p.since), 1))
}

// owing returns for how long a client has owed bytes of a body; silent is for how long nothing came, where there is no
// least rate.
func (p *pace) owing(silent time.Duration, now int64) time.Duration {
	if p.since == 0 {
		return silent
	}
	return max(time.Duration(now-p.since), bodyGrace-p.left(now))
}

// patience returns how long a client may still take to take more of its answer. It begins with limit, which shrinks
// while the client takes nothing.
func (p *pace) patience(limit time.Duration, now int64) time.Duration {
	if !p.begun {
		p.begun, p.credit = true, int64(limit)
	}
	return p.left(now)
}

// took adds what n bytes are worth that a client took: one that takes a few now and then, and so keeps all that waits
// behind them in our memory, is as slow as one that takes nothing.
func (p *pace) took(n int, perByte int64, limit time.Duration, now int64) {
	switch {
	case !p.begun:
	case perByte == 0:
		p.credit, p.since = int64(limit), 0
	default:
		p.paid(n, perByte, int64(limit), now)
	}
}

// rest ends the time in which the credit shrinks: the client keeps nothing waiting.
func (p *pace) rest(now int64) {
	if p.since != 0 {
		p.credit -= now - p.since
		p.since = 0
	}
}

// waited returns for how long a client whose patience began with limit has taken too little.
func (p *pace) waited(limit time.Duration, now int64) time.Duration {
	if !p.begun {
		return 0
	}
	return limit - p.left(now)
}

// perByte is what one byte is worth, 0 without a least rate.
func (o *ServerOptions) perByte() int64 {
	if o.BodyRate < 0 {
		return 0
	}
	return int64(time.Second) / o.BodyRate
}
