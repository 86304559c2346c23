//go:build !purego

#include "textflag.h"

// func run(p unsafe.Pointer)
TEXT ·run(SB), NOSPLIT, $0-8
	MOVQ       p+0(FP), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	PREFETCHT0 128(AX)
	PREFETCHT0 192(AX)
	RET

// func fetch(lines *uintptr, n int)
TEXT ·fetch(SB), NOSPLIT, $0-16
	MOVQ  lines+0(FP), AX
	MOVQ  n+8(FP), CX
	TESTQ CX, CX
	JZ    done

loop:
	MOVQ       (AX), BX
	PREFETCHT0 (BX)
	ADDQ       $8, AX
	DECQ       CX
	JNZ        loop

done:
	RET
