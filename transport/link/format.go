package link

import "encoding/binary"

// A datagram of the link, version 1. All integers are big-endian.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+-----------------------------------------------+
//	|  version = 1  |                zero (3 bytes)                 |  0
//	+---------------+-----------------------------------------------+
//	|            receiver's index of the session (4)                |  4
//	+---------------------------------------------------------------+
//	|            counter (8): from 0, one for each datagram         |  8
//	|                                                               |
//	+---------------+-----------------------------------------------+
//	|     type      |   body, as below …                            | 16   encrypted
//	+---------------+-----------------------------------------------+
//	|            tag of AES-256-GCM (16)                            |
//	+---------------------------------------------------------------+
//
// The nonce is four zero bytes and the counter; bytes 0 to 15 are authenticated with the rest.
//
//	type            body
//	1 relay         peer (5), the packet
//	2 piece         peer (5), number << 4 | count (1), length of the packet (2), bytes number·size … of it, where
//	                size is the length divided by the count, rounded up. Pieces of one packet have counters in a row
//	3 notification  kind (1), body
//	4 request       kind (1), id (4), body
//	5 answer        id (4), 0 or 1 for a refusal (1), body or reason
//	6 probe         path (1), sequence (4), time (8): the sender's alone to understand
//	7 echo          path, sequence, time as they came
const (
	version = 1

	headerLen = 16
	tagLen    = 16
	overhead  = headerLen + tagLen

	typeRelay        = 1
	typePiece        = 2
	typeNotification = 3
	typeRequest      = 4
	typeAnswer       = 5
	typeProbe        = 6
	typeEcho         = 7

	relayLen        = 1 + 5 // type and what stands before the payload
	pieceLen        = 1 + 5 + 1 + 2
	notificationLen = 1 + 1
	requestLen      = 1 + 1 + 4
	answerLen       = 1 + 4 + 1
	probeLen        = 1 + 1 + 4 + 8

	answerOK      = 0
	answerRefused = 1
)

const (
	// MaxPayload is the length in bytes of the longest packet that is relayed.
	MaxPayload = 10 * 1024
	// MaxBody is the length in bytes of the longest body of a notification, request or answer. With an MTU below 1486
	// the kernel cuts the longest ones into IP fragments.
	MaxBody = 1400

	maxPieces   = 15
	bufferLen   = 1536      // holds a datagram of the largest MTU, and keeps each on cache lines of its own
	addressMask = 1<<40 - 1 // of a peer's address
)

// headersOf is the length of what IP and UDP put before a datagram.
func headersOf(is4 bool) int {
	if is4 {
		return 20 + 8
	}
	return 40 + 8
}

// putHeader writes the first 16 bytes of a datagram.
func putHeader(b []byte, index uint32, counter uint64) {
	_ = b[headerLen-1]
	binary.BigEndian.PutUint32(b, version<<24)
	binary.BigEndian.PutUint32(b[4:], index)
	binary.BigEndian.PutUint64(b[8:], counter)
}

// parseHeader reads them. The datagram is at least overhead bytes long. It is false for another version.
func parseHeader(b []byte) (index uint32, counter uint64, ok bool) {
	_ = b[headerLen-1]
	return binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b) == version<<24
}

func putAddress(b []byte, peer uint64) {
	_ = b[4]
	b[0] = byte(peer >> 32)
	binary.BigEndian.PutUint32(b[1:], uint32(peer))
}

func parseAddress(b []byte) uint64 {
	_ = b[4]
	return uint64(b[0])<<32 | uint64(binary.BigEndian.Uint32(b[1:]))
}
