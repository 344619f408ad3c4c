package issue

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"
)

// pauses are the times between tries, by the number of failures in a row. In a day of failures there are 12 tries.
var pauses = [...]time.Duration{
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour,
}

const (
	triesMost     = 12                 // a day, whatever restarts and reloads do
	successLeast  = 5 * time.Minute    // whatever the life of the certificate
	pauseMax      = 7 * 24 * time.Hour // of an authority that wants no order before
	successPause  = 2 * time.Hour      // a certificate that is due again at once is not ordered in a loop
	windowAgain   = 6 * time.Hour      // an authority is asked no more often
	windowLatest  = 24 * time.Hour     // and no more rarely
	errorBytesMax = 500
	shortLife     = 10 * 24 * time.Hour
)

// state is what is known of a certificate beside the pair: its tries, and when to renew it. It is in the folder of the
// first authority, for other replicas and for the next start. Its times are of the wall clock.
type state struct {
	For      string    `json:"for"` // the authorities, the accounts, the kind of key and the proofs of the tries
	Failures int       `json:"failures"`
	Tried    time.Time `json:"tried"`
	Next     time.Time `json:"next"` // no try before
	Error    string    `json:"error,omitempty"`
	Day      time.Time `json:"day,omitzero"` // since when Tries are counted, over plans and successes
	Tries    int       `json:"tries,omitempty"`

	Serial  string    `json:"serial,omitempty"`  // of the certificate that the fields below are about
	Account string    `json:"account,omitempty"` // that has ordered it; empty: not known
	Start   time.Time `json:"start,omitzero"`    // the window; zero: the authority tells none
	End     time.Time `json:"end,omitzero"`
	Again   time.Time `json:"again,omitzero"` // when the authority is asked for it again
}

// count notes a try at now.
func (s *state) count(now time.Time) {
	if now.Sub(s.Day) >= 24*time.Hour {
		s.Day, s.Tries = now, 0
	}
	s.Tries++
}

// failed notes a try that failed at now.
func (s *state) failed(now time.Time, err error) {
	pause := pauses[min(s.Failures, len(pauses)-1)]
	if early, is := errors.AsType[*Early](err); is {
		pause = max(pause, min(early.After, pauseMax))
	}
	s.Failures++
	s.Tried, s.Next = now, now.Add(pause)
	s.Error = err.Error()
	s.Error = s.Error[:min(len(s.Error), errorBytesMax)] // an authority has written it
}

// issued notes a certificate that came at now, of an account.
func (s *state) issued(now time.Time, serial string, life time.Duration, account string) {
	*s = state{For: s.For, Serial: serial, Account: account, Day: s.Day, Tries: s.Tries,
		Tried: now, Next: now.Add(max(successLeast, min(successPause, life/3)))}
	if life < 3*successPause {
		s.Tries = 0 // the authority wants more of them
	}
}

// ahead tells whether the clock was set back since the last try, or whether the times are not ones that edge has
// written.
func (s *state) ahead(now time.Time) bool {
	return s.Tried.After(now) || s.Next.Sub(now) > pauseMax
}

// follow begins the pause anew if it is ahead: it began at a time that has not come yet.
func (s *state) follow(now time.Time) {
	if s.Day.After(now) {
		s.Day = now
	}
	if s.ahead(now) {
		s.Tried, s.Next = now, now.Add(max(0, min(s.Next.Sub(s.Tried), pauseMax)))
	}
}

// try returns which of n authorities is asked after a number of failures, and whether its staging authority is asked
// before: an order that fails there costs nothing at the authority itself.
func try(failures, n int) (authority int, staging bool) {
	return failures / 2 % n, failures%2 == 1 || failures >= 2*n
}

// moment returns the moment of the window of a certificate, which all replicas find without a word from each other;
// zero: there is no window.
func (s *state) moment(serial string) time.Time {
	length := s.End.Sub(s.Start)
	if s.Serial != serial || length <= 0 {
		return time.Time{}
	}
	sum := sha256.Sum256([]byte(serial))
	part := float64(binary.BigEndian.Uint32(sum[:])) / (1 << 32)
	return s.Start.Add(time.Duration(part * float64(length)))
}

func serialOf(leaf *x509.Certificate) string { return hex.EncodeToString(leaf.SerialNumber.Bytes()) }
