import NIOCore
import Testing

@testable import HeraldBench

@Suite struct StampTests {
    private func numbers(_ pieces: [String]) -> [Int] {
        var scanner = StampScanner()
        var found: [Int] = []
        for piece in pieces { scanner.feed(ByteBuffer(string: piece).readableBytesView) { found.append($0) } }
        return found
    }

    @Test(arguments: [16, 17, 128, 262_144])
    func `an event's data have the size that was asked for and end in its number`(size: Int) {
        let data = String(buffer: Stamp.data(event: 0x2a, size: size))
        #expect(data.utf8.count == size)
        #expect(data.hasSuffix("x#0000002a;"))
    }

    @Test(arguments: [0, 1, 9, 10, 255, 4096, 0x7fff_ffff, 0xffff_ffff])
    func `what was written is found`(event: Int) {
        #expect(numbers([String(buffer: Stamp.data(event: event, size: 16))]) == [event])
    }

    @Test func `events are found wherever the bytes are cut`() {
        let text = #"{"id":"5f3a9c1e-7","data":"xx#00000007;"}"# + "\n\n" + #"{"data":"xx#000000ff;"}"#
        for cut in 0...text.utf8.count {
            let (first, second) = (text.prefix(cut), text.dropFirst(cut))
            #expect(numbers([String(first), String(second)]) == [7, 255], "cut at \(cut)")
        }
        #expect(numbers(text.map { String($0) }) == [7, 255])
    }

    @Test func `an event is not there before its last byte`() {
        #expect(numbers(["xx#0000002a"]) == [])
        #expect(numbers(["xx#0000002a", ";"]) == [42])
    }

    @Test(arguments: ["", "#", "#;", "#000000;", "#0000002a", "#0000002A;", "#000000002a;", "0000002a;", "#00 0002a;"])
    func `what is no number is passed over`(text: String) {
        #expect(numbers([text + " #00000001;"]) == [1])
    }

    @Test func `a mark within a number begins another`() {
        #expect(numbers(["#0000#00000003;"]) == [3])
        #expect(numbers(["#00000004#00000005;"]) == [5])
    }
}
