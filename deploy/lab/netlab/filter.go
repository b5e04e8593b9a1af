package netlab

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Loss says which frames the switch loses, and how many of them. An empty name stands for every box.
type Loss struct {
	From, To string
	Percent  int // 1 to 100

	TCPPort uint16 // only segments to or from this port; 0: all frames
}

// Lose makes the switch lose frames, until the next call of it; without arguments it loses none. The cables stay up.
func (n *Network) Lose(losses ...Loss) error {
	if err := n.Switch.Do(func() error { return lose(losses) }); err != nil {
		return fmt.Errorf("make the switch lose frames: %w; the kernel needs nftables for bridges", err)
	}
	return nil
}

// lose runs on a thread in the switch's namespace.
func lose(losses []Loss) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: "lab", Family: nftables.TableFamilyBridge}
	// A table that is not there cannot be deleted: add it first, all in one transaction.
	c.AddTable(table)
	c.DelTable(table)
	if len(losses) > 0 {
		table = c.AddTable(&nftables.Table{Name: "lab", Family: nftables.TableFamilyBridge})
		chain := c.AddChain(&nftables.Chain{
			Name: "lose", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		})
		for _, l := range losses {
			for _, match := range l.segments() {
				c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(match, l.rule()...)})
			}
		}
	}
	return c.Flush()
}

// segments matches the segments to the port, and those from it: a rule each.
func (l Loss) segments() [][]expr.Any {
	if l.TCPPort == 0 {
		return [][]expr.Any{nil}
	}
	var out [][]expr.Any
	for _, offset := range []uint32{0, 2} { // source port, destination port
		out = append(out, []expr.Any{
			&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(unix.ETH_P_IP)},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(l.TCPPort)},
		})
	}
	return out
}

func (l Loss) rule() []expr.Any {
	var out []expr.Any
	match := func(key expr.MetaKey, name string) {
		if name == "" {
			return
		}
		data := make([]byte, unix.IFNAMSIZ)
		copy(data, name)
		out = append(out, &expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data})
	}
	match(expr.MetaKeyIIFNAME, l.From)
	match(expr.MetaKeyOIFNAME, l.To)
	if l.Percent < 100 {
		out = append(out,
			&expr.Numgen{Register: 1, Modulus: 100, Type: unix.NFT_NG_RANDOM},
			// The number is in host order: compared as such it must be turned first (little endian).
			&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
			&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint32(uint32(l.Percent))})
	}
	return append(out, &expr.Verdict{Kind: expr.VerdictDrop})
}
