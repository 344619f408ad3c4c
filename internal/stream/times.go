package stream

import "time"

// Patience is the times of one exchange with an origin; it makes a stream a Patient. Owned by its stream.
type Patience struct{ firstByte, between time.Duration }

// SetPatience is the method of Patient.
func (p *Patience) SetPatience(firstByte, between time.Duration) { *p = Patience{firstByte, between} }

// ToFirstByte returns the time to the first byte of the answer, where the options say d.
func (p *Patience) ToFirstByte(d time.Duration) time.Duration {
	if p.firstByte > 0 { // not cmp.Or, whose loop costs ten times as much
		return p.firstByte
	}
	return OrDefault(d)
}

// BetweenBytes returns the time between two reads, where the options say d.
func (p *Patience) BetweenBytes(d time.Duration) time.Duration {
	if p.between > 0 {
		return p.between
	}
	return OrDefault(d)
}

// OrDefault is d, or a minute: the default of most times of an exchange.
func OrDefault(d time.Duration) time.Duration {
	if d == 0 {
		return time.Minute
	}
	return d
}

// OrTunnelIdle is d, or an hour: the default of the time in which a tunnel may be silent.
func OrTunnelIdle(d time.Duration) time.Duration {
	if d == 0 {
		return time.Hour
	}
	return d
}
