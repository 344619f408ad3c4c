package filter

// Held returns how many exchanges l holds back.
func Held(l *DelayLine) int { return int(l.held.Load()) }
