package netconn

// Idle reports whether s holds no memory but itself.
func Idle(s *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.data == nil && s.out.data == nil
}
