package compress

// Kept returns how many encoders l keeps that are not in use.
func Kept(l *Lender) int { return l.free.Len() }
