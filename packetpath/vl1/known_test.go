package vl1_test

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
)

// The vectors of the protocol's description: one of each thing, with readable contents, made by the
// reference between the throw-away identities A and B.
const (
	knownValid = "8e4df28b72:0:ac3d46abe0c21f3cfe7a6c8d6a85cfcffcb82fbd55af6a4d6350657c68200843fa2e16f9418bbd9702cae365f2af5fb4c420908b803a681d4daef6114d78a2d7"
	knownA     = "c3a4c592af:0:341d46b360bec335be58393a053a9ffa8704441110b65503c3753c69368926486435b81e788a8e2324c4fbe28f59bc5ed1c327d53f453d8726f52bf1168fe585:9c51080b0ff53dca64cb340ac27d1e9abdc244d913068ce5b3759d3b80bc804dd565d6ead502c594e21782f030c67a0371c5870782620401d2df5c2e1383bb20"
	knownB     = "0f623bb00a:0:8d58c20b53157dcde99dfff64d9ae967b8e7b477226421f4f7fb721480c5e72517e8c196a3b6d0ee334c36885420e72933ff6398395bf5ab8e162abc5b2c39cd:977e778617be3f91311e8f7bb5e0c62952d687a5a21779eddb397b6eff0bffa2581dccc91609a819fb2c43b3a754b049eac738cc1caf82289d71f5cfebc1990b"

	knownEcho  = "10111213141516170f623bb00ac3a4c592af0000000000000000000868656c6c6f207a65726f7469657220766c31"
	knownEcho1 = "10111213141516170f623bb00ac3a4c592af88a79996fdcb9a8ce46989763943d3ee14f905887fde14e08acc6ecd"
	knownEcho3 = "24c3deb370fb52880f623bb00ac3a4c592af18026f0c48f922e5b50a8d424e12b8d8a73317f919cc7f347fb3d116"
	knownHello = "10111213141516170f623bb00ac3a4c592af00182dc7a8ab004cb8010c010e00010000019000000000c3a4c592af00341d46b360bec335be58393a053a9ffa8704441110b65503c3753c69368926486435b81e788a8e2324c4fbe28f59bc5ed1c327d53f453d8726f52bf1168fe58500040a01020327090000000008eac90a0000017ee95760cd57a1eb270513a4d71a49ed4b83ee2a97537c30"
	knownLike  = "10111213141516170f623bb00ac3a4c592af88e47e32ee447ec12c23e9e67aada76d9223f3a084789ff060f1b2da5a22e2fcb7c99e66d9089e80d1f55e66b312ab27364ce7e2c1003d55c9d27604b3cb"
	knownLikeP = "89fd038056c2e21c0000013333000000010000000012001d0112001d0212001d0312001d0412001d05120019061200500100000007"
	knownExt   = "10111213141516170f623bb00ac3a4c592af8097df7c5ada825827ce6395b335bb2c9835405741798e67ca28078af71cbf54baafb27796d0c61f9f014d0464ddd886cc7546a0fcf2819cdf83aae2400758dca4e265846f0e900e8a04a3959f64781c565940f417b01e11dfe2eef5fff9ddab38e62d6a55e243a0b68144191c6e98f75cc6d8fcde7858de04d422b5d4715c54b80c68bfbd1d055ac6e6e1f7caedbd8404009097ec3007"
	knownSig   = "747d25752428961bd3529113a73bfcdf923ea8d7b1477757bd3a04ec8f5ff2c54091189251047a803a51b6236e10f9396cf560be33281ffe2ccda97a4bd3d00e950b2a7effa78f51a63515ec45e03ecebe50ef2f1c41e69629b50778f11bc080"
	knownWorld = "0100000000deadbeef0000018f000000008d58c20b53157dcde99dfff64d9ae967b8e7b477226421f4f7fb721480c5e72517e8c196a3b6d0ee334c36885420e72933ff6398395bf5ab8e162abc5b2c39cd70f66442a6a8857505ccd9e08b34f8dc88b2d7b07f5a6967c96b8fe2e445662e0bb3504315c43a90c88929b3ad12d2ddc9f5dd796a1ed7a774e2f9956080520955b433a13c700e194fbaed7f509db50bcc532d964dc54476cb25a3042a45c46e01c3a4c592af00341d46b360bec335be58393a053a9ffa8704441110b65503c3753c69368926486435b81e788a8e2324c4fbe28f59bc5ed1c327d53f453d8726f52bf1168fe5850002040a010203270906fd0000000000000000000000000000012709"
	knownKey   = "4eac6079c485ec6450bec2059d13b7fd8b744d3aefa2b22dc71ab60fe12226cd613eba463b1422571d0587884f8a0145"
	knownID    = 0x1011121314151617
)

func TestKnownIdentity(t *testing.T) {
	h := vl1.NewHasher()
	id, err := vl1.ParseIdentity(knownValid)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Validate(&id); err != nil {
		t.Error(err)
	}
	id.Address = 0x9e4df28b72
	if h.Validate(&id) == nil {
		t.Error("valid with another address")
	}
}

func TestKnownPackets(t *testing.T) {
	a, b := secret(t, knownA), secret(t, knownB)
	k := agree(t, a, &b.Key)
	if hex.EncodeToString(k[:]) != knownKey {
		t.Fatalf("agreed on %x", k[:])
	}
	fresh := func(v vl1.Verb) vl1.Packet { return vl1.NewPacket(nil, knownID, b.Address, a.Address, v) }
	check := func(name string, p vl1.Packet, want string) {
		t.Helper()
		if got := hex.EncodeToString(p); got != want {
			t.Errorf("%s:\n%s, want\n%s", name, got, want)
		}
	}

	echo := append(fresh(vl1.VerbEcho), "hello zerotier vl1"...)
	check("ECHO", echo, knownEcho)
	vl1.Armor(echo, &k, vl1.SuiteSalsa)
	check("ECHO, suite 1", echo, knownEcho1)
	echo = append(fresh(vl1.VerbEcho), "hello zerotier vl1"...)
	vl1.Armor(echo, &k, vl1.SuiteAES)
	check("ECHO, suite 3", echo, knownEcho3)

	hello := vl1.Hello{
		Protocol: 12, Major: 1, Minor: 14, Revision: 1, Clock: 0x0000019000000000, Identity: a.Identity,
		SentTo:    netip.MustParseAddrPort("10.1.2.3:9993"),
		HasPlanet: true, PlanetID: 149604618, PlanetTimestamp: 0x0000017ee95760cd, MoonCount: 1,
	}
	hello.Moons[0] = vl1.WorldStamp{Type: vl1.WorldMoon, ID: 0x1122334455}
	p := vl1.AppendHello(fresh(vl1.VerbHello), &hello, &k)
	vl1.Armor(p, &k, vl1.SuitePoly1305)
	check("HELLO", p, knownHello)

	like := vl1.Packet(unhex(t, knownLike))
	if err := vl1.Dearmor(like, &k); err != nil {
		t.Fatal(err)
	}
	check("LIKE, decrypted", like[27:], knownLikeP)
	like, err := vl1.Decompress(like, make([]byte, vl1.MaxPacket))
	if err != nil {
		t.Fatal(err)
	}
	groups, err := vl1.DecodeMulticastLike(like)
	if err != nil || groups.Len() != 8 {
		t.Fatalf("LIKE of %d groups, %v", groups.Len(), err)
	}
	for i := range groups.Len() {
		want := vl1.Group{Network: 0x8056c2e21c000001, MAC: [6]byte{0x33, 0x33, 0, 0, 0, 1}, ADI: uint32(i)}
		if got := groups.At(i); got != want {
			t.Errorf("group %d: %+v", i, got)
		}
	}

	ext, err := vl1.DearmorExtended(unhex(t, knownExt), b)
	if err != nil || len(ext) != 137 {
		t.Fatalf("extended HELLO: %d bytes, %v", len(ext), err)
	}
	check("extended HELLO, dearmored", ext[18:28], "80eaf383e0b752440b01")
	if err := vl1.Dearmor(ext, &k); err != nil {
		t.Error(err)
	}
}

func TestKnownSignatures(t *testing.T) {
	a, b := secret(t, knownA), secret(t, knownB)
	sig := a.Sign([]byte("test message"))
	if hex.EncodeToString(sig[:]) != knownSig || !a.Key.Verify([]byte("test message"), &sig) {
		t.Errorf("signature %x", sig)
	}
	sk, err := vl1.ParseSigningKey(knownB[13:])
	if err != nil {
		t.Fatal(err)
	}
	w := vl1.World{Type: vl1.WorldPlanet, ID: 0xdeadbeef, Timestamp: 0x0000018f00000000, UpdateKey: b.Key, Roots: []vl1.Root{{
		Identity:  a.Identity,
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("10.1.2.3:9993"), netip.MustParseAddrPort("[fd00::1]:9993")},
	}}}
	w.Sign(sk)
	if got := hex.EncodeToString(w.AppendBinary(nil)); got != knownWorld {
		t.Errorf("planet %s", got)
	}
	w.Type, w.ID = vl1.WorldMoon, uint64(a.Address)
	w.Sign(sk)
	if c := w.SignedContent(); !bytes.HasSuffix(c, unhex(t, "2709"+"0000"+"f7f7f7f7f7f7f7f7")) || !w.Verify(&b.Key) {
		t.Errorf("moon %x", c)
	}
}
