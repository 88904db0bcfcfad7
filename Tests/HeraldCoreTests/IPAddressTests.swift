import HeraldCore
import Testing

@Suite struct IPAddressTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"), ("2001:DB8:0:0:1::5", "2001:db8::1:0:0:5", "2001:db8::"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
    ])
    func `an address has one text, and one that is counted`(text: String, canonical: String, counted: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(address.counted.description == counted)
        #expect(address == IPAddress(canonical))
        #expect(Set([address, try #require(IPAddress(canonical))]).count == 1)
    }

    @Test(arguments: ["", "localhost", "192.0.2.1:80", "[::1]", "1.2.3"])
    func `what is no address is none`(text: String) {
        #expect(IPAddress(text) == nil)
        #expect(IPRange(text) == nil)
    }

    @Test func `a range is as it was written`() {
        #expect(IPRange("10.0.0.0/8")?.description == "10.0.0.0/8")
        #expect(IPRange("10.0.0.0/8") != IPRange("10.0.0.0/9"))
        #expect(IPRange("10.0.0.1/8") == nil)
    }
}
