package vl1

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// offOK is where the body of an OK begins, and the code of an ERROR.
//
//	28  1  verb of the request
//	29  8  packet ID of the request, as it was on the wire
//	37  …  body
const offOK = 37

// AppendOK appends the beginning of every OK: which request it answers.
func AppendOK(p Packet, inRe Verb, inReID uint64) Packet {
	return binary.BigEndian.AppendUint64(append(p, byte(inRe)), inReID)
}

// DecodeOK reads the beginning of an OK and returns the rest, which aliases the packet.
func DecodeOK(p Packet) (inRe Verb, inReID uint64, body []byte, err error) {
	if p.Verb() != VerbOK {
		return 0, 0, nil, ErrVerb
	}
	return decodeInRe(p)
}

func decodeInRe(p Packet) (inRe Verb, inReID uint64, body []byte, err error) {
	if len(p) < offOK {
		return 0, 0, nil, ErrShort
	}
	return Verb(p[offPayload] & maskVerb), binary.BigEndian.Uint64(p[offPayload+1:]), p[offOK:], nil
}

// OKHello answers HELLO.
//
//	37  8  clock of the HELLO
//	45  1  protocol version, major (1), minor (1), revision (2)
//	50  …  endpoint the HELLO came from
//	 +  2  length of the worlds
//	 +  …  worlds, one after the other
type OKHello struct {
	Clock                  uint64 // that of the HELLO, unchanged
	Protocol, Major, Minor uint8
	Revision               uint16
	SeenAt                 netip.AddrPort // the sender of the HELLO as the answerer's socket saw it
	Worlds                 []byte         // serialized worlds; aliases the packet after decoding
}

// AppendOKHello appends the answer to the HELLO with the given packet ID.
func AppendOKHello(p Packet, helloID uint64, m *OKHello) Packet {
	p = AppendOK(p, VerbHello, helloID)
	p = binary.BigEndian.AppendUint64(p, m.Clock)
	p = append(p, m.Protocol, m.Major, m.Minor)
	p = binary.BigEndian.AppendUint16(p, m.Revision)
	p = AppendEndpoint(p, m.SeenAt)
	p = binary.BigEndian.AppendUint16(p, uint16(len(m.Worlds)))
	return append(p, m.Worlds...)
}

// DecodeOKHello reads the body of an OK to a HELLO into m. The endpoint and what follows it may be missing.
func DecodeOKHello(body []byte, m *OKHello) error {
	if len(body) < 13 {
		return ErrShort
	}
	*m = OKHello{
		Clock:    binary.BigEndian.Uint64(body),
		Protocol: body[8],
		Major:    body[9],
		Minor:    body[10],
		Revision: binary.BigEndian.Uint16(body[11:]),
	}
	if body = body[13:]; len(body) == 0 {
		return nil
	}
	at, n, err := DecodeEndpoint(body)
	if err != nil {
		return err
	}
	m.SeenAt = at
	if body = body[n:]; len(body) < 2 {
		return nil
	}
	n = int(binary.BigEndian.Uint16(body))
	if len(body) < 2+n {
		return ErrShort
	}
	m.Worlds = body[2 : 2+n]
	return nil
}

// AppendOKWhois appends the answer to a WHOIS. Clients read only the first identity of an answer, so
// a root sends one answer for each.
func AppendOKWhois(p Packet, whoisID uint64, id *Identity) Packet {
	return id.AppendBinary(AppendOK(p, VerbWhois, whoisID))
}

// DecodeOKWhois reads the first identity of the body of an OK to a WHOIS.
func DecodeOKWhois(body []byte) (Identity, error) {
	id, _, err := DecodeIdentity(body)
	return id, err
}

// AppendOKEcho appends the answer to an ECHO: its payload. The body of the OK is that payload again.
func AppendOKEcho(p Packet, echoID uint64, payload []byte) Packet {
	return append(AppendOK(p, VerbEcho, echoID), payload...)
}

// ErrorCode says why a request was refused.
type ErrorCode byte

// The error codes. A root sends only ErrorIdentityCollision and ErrorUnsupported.
const (
	ErrorInvalidRequest      ErrorCode = 0x01
	ErrorBadProtocol         ErrorCode = 0x02
	ErrorNotFound            ErrorCode = 0x03 // from controllers
	ErrorIdentityCollision   ErrorCode = 0x04 // another valid identity holds the address: the client gives its identity up
	ErrorUnsupported         ErrorCode = 0x05 // payload: network ID
	ErrorNeedMembership      ErrorCode = 0x06
	ErrorAccessDenied        ErrorCode = 0x07
	ErrorUnwantedMulticast   ErrorCode = 0x08
	ErrorNeedsAuthentication ErrorCode = 0x09
)

// String returns what the code means.
func (c ErrorCode) String() string {
	switch c {
	case ErrorInvalidRequest:
		return "invalid request"
	case ErrorBadProtocol:
		return "bad protocol version"
	case ErrorNotFound:
		return "object not found"
	case ErrorIdentityCollision:
		return "identity collision"
	case ErrorUnsupported:
		return "unsupported operation"
	case ErrorNeedMembership:
		return "need membership certificate"
	case ErrorAccessDenied:
		return "network access denied"
	case ErrorUnwantedMulticast:
		return "unwanted multicast"
	case ErrorNeedsAuthentication:
		return "network authentication required"
	}
	return fmt.Sprintf("error 0x%02x", byte(c))
}

// ErrorMessage refuses a request.
//
//	28  1  verb of the request
//	29  8  packet ID of the request
//	37  1  code
//	38  …  payload
type ErrorMessage struct {
	InRe    Verb
	InReID  uint64
	Code    ErrorCode
	Payload []byte // aliases the packet after decoding
}

// AppendError appends a refusal.
func AppendError(p Packet, m *ErrorMessage) Packet {
	p = AppendOK(p, m.InRe, m.InReID)
	return append(append(p, byte(m.Code)), m.Payload...)
}

// DecodeError reads a refusal.
func DecodeError(p Packet) (ErrorMessage, error) {
	if p.Verb() != VerbError {
		return ErrorMessage{}, ErrVerb
	}
	verb, id, body, err := decodeInRe(p)
	if err != nil {
		return ErrorMessage{}, err
	}
	if len(body) == 0 {
		return ErrorMessage{}, ErrShort
	}
	return ErrorMessage{InRe: verb, InReID: id, Code: ErrorCode(body[0]), Payload: body[1:]}, nil
}
