import Testing

@testable import Herald

struct QuantitiesTests {
    @Test(arguments: [
        ("0s", Duration.zero), ("0ms", .zero), ("1ms", .milliseconds(1)), ("250ms", .milliseconds(250)),
        ("10s", .seconds(10)), ("5m", .seconds(300)), ("1h", .seconds(3600)), ("7d", .seconds(604_800)),
        ("007s", .seconds(7)), ("9223372036854775807ms", .milliseconds(Int64.max)),
    ])
    func `a duration is a whole number and a unit`(text: String, duration: Duration) {
        #expect(Quantities.duration(text) == duration)
    }

    @Test(arguments: [
        "", "5", "s", "-1s", "+1s", "1.5s", "1 s", " 1s", "1s ", "1S", "1M", "1sec", "1h30m", "1us", "٣s", "1e3s",
        "0x1s", "9223372036854775807s", "9223372036854775808ms", "1s\0",
    ])
    func `anything else is no duration`(text: String) {
        #expect(Quantities.duration(text) == nil)
    }

    @Test(arguments: [
        ("0", 0), ("512", 512), ("512B", 512), ("1KiB", 1024), ("64KiB", 65_536), ("1MiB", 1_048_576),
        ("1GiB", 1_073_741_824), ("2TiB", 2_199_023_255_552), ("1kB", 1000), ("1MB", 1_000_000),
        ("1GB", 1_000_000_000), ("1TB", 1_000_000_000_000), ("9223372036854775807", Int.max),
    ])
    func `a size is a whole number and a binary, a decimal or no unit`(text: String, bytes: Int) {
        #expect(Quantities.bytes(text) == bytes)
    }

    @Test(arguments: [
        "", "B", "KiB", "-1", "+1", "1.5MiB", "1 KiB", "1kib", "1KB", "1K", "1M", "1mb", "1Kib", "1PiB", "0x10",
        "1_000", "٣", "9223372036854775808", "9223372036854775807KiB",
    ])
    func `anything else is no size`(text: String) {
        #expect(Quantities.bytes(text) == nil)
    }

    @Test(arguments: [
        (Duration.zero, "0s"), (.milliseconds(1), "1ms"), (.milliseconds(1500), "1500ms"), (.seconds(90), "90s"),
        (.seconds(120), "2m"), (.seconds(5400), "90m"), (.seconds(3600), "1h"), (.seconds(86_400), "1d"),
    ])
    func `a duration is written in the largest unit that divides it`(duration: Duration, text: String) {
        #expect(Quantities.text(duration) == text)
    }

    @Test(arguments: [
        (0, "0"), (1, "1"), (1000, "1000"), (1024, "1KiB"), (1025, "1025"), (1 << 20, "1MiB"), (3 << 19, "1536KiB"),
        (1 << 30, "1GiB"), (1 << 50, "1024TiB"),
    ])
    func `a size is written in the largest binary unit that divides it`(bytes: Int, text: String) {
        #expect(Quantities.text(bytes: bytes) == text)
    }

    @Test func `what is written reads back as the same value`() {
        for number in 0..<3000 {
            for scale in [1, 999, 1000, 1024, 60_000, 3_600_000, 86_400_000, 1 << 30] {
                let value = number * scale
                #expect(Quantities.bytes(Quantities.text(bytes: value)) == value)
                #expect(Quantities.duration(Quantities.text(.milliseconds(value))) == .milliseconds(value))
            }
        }
    }

    @Test(arguments: [
        ("127.0.0.1:8080", "127.0.0.1", 8080, true), ("localhost:0", "127.0.0.1", 0, true),
        ("127.255.0.9:1", "127.255.0.9", 1, true), ("[::1]:8080", "::1", 8080, true),
        ("[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80, true), ("0.0.0.0:65535", "0.0.0.0", 65_535, false),
        ("[::]:80", "::", 80, false), ("128.0.0.1:80", "128.0.0.1", 80, false),
        ("[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80, false), ("[fe80::1]:80", "fe80::1", 80, false),
    ])
    func `an address knows whether it is loopback`(text: String, host: String, port: UInt16, isLoopback: Bool) throws {
        let address = try #require(ListenAddress(text))
        #expect(address.host == host)
        #expect(address.port == port)
        #expect(address.isLoopback == isLoopback)
        #expect(address.isIPv6 == text.hasPrefix("["))
        #expect(ListenAddress(address.description) == address)
    }

    @Test(arguments: [
        "", ":", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1",
        "127.0.0.1:http", "127.0.0.1:80 ", "127.0.0:80", "127.0.0.256:80", "127.1:80", "0x7f.0.0.1:80", "::1:80",
        "[::1]", "[::1:80", "::1]:80", "[127.0.0.1]:80", "[localhost]:80", "[fe80::1%eth0]:80", "[]:80", "*:80",
        "example.org:80", "127.0.0.1\0:80", "http://127.0.0.1:80",
    ])
    func `anything but numbers with a port is no address`(text: String) {
        #expect(ListenAddress(text) == nil)
    }
}
