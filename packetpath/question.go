package packetpath

import "github.com/rootd/rootd/packetpath/vl1"

// firstEcho is the first protocol version whose clients answer ECHO; the first release of it, 1.1.0, sends the answer
// unencrypted.
const firstEcho = 5

var badEcho = packVersion(firstEcho, 1, 1, 0)

// answersEcho reports whether the peer's client is known to answer ECHO, or not known yet.
func (s *session) answersEcho() bool {
	v := s.version.Load()
	return v == 0 || byte(v>>32) >= firstEcho && v != badEcho
}

// question begins what a peer is asked to show that it hears us: an ECHO; of the oldest clients the WHOIS of this root, whom
// they know. The answer quotes the packet ID, which nobody else has seen.
func (w *worker) question(s *session) vl1.Packet {
	if s.answersEcho() {
		return w.packet(s.id.Address, vl1.VerbEcho)
	}
	return vl1.AppendWhois(w.packet(s.id.Address, vl1.VerbWhois), w.root.self.Address)
}
