import Testing

@testable import Herald
@testable import herald

struct TLSSettingTests {
    private let files = ["tls-certificate": ["/a.pem"], "tls-key": ["/a.key"]]

    @Test func `an address, a certificate and its key are all that is needed`() async throws {
        let loaded = try await read(flags: files.merging(["tls-listen": ["127.0.0.1:8443"]]) { first, _ in first })
        #expect(loaded.settings.tlsListen?.port == 8443)
        #expect(loaded.settings.tlsCertificates == ["/a.pem"] && loaded.settings.tlsKeys == ["/a.key"])
        #expect(loaded.warnings.isEmpty)
    }

    @Test func `in the file one certificate may stand without brackets`() async throws {
        let loaded = try await read(yaml: "tls-listen: '[::1]:0'\ntls-certificate: /a, b.pem\ntls-key: [/a.key]")
        #expect(loaded.settings.tlsCertificates == ["/a, b.pem"] && loaded.settings.tlsKeys == ["/a.key"])
    }

    @Test func `an address without certificates is a mistake`() async {
        #expect(
            await mistakes(flags: ["tls-listen": ["127.0.0.1:0"]])
                == ["tls-listen (--tls-listen): needs tls-certificate and tls-key"])
    }

    @Test func `so are certificates of which some have no key`() async {
        let found = await mistakes(
            flags: ["tls-listen": ["127.0.0.1:0"], "tls-certificate": ["/a", "/b"], "tls-key": ["/a"]])
        #expect(
            found == [
                "tls-listen (--tls-listen): needs a tls-key for each tls-certificate; there are 2 certificates and 1 keys"
            ])
    }

    @Test func `an address beyond loopback needs allow-anonymous here, too`() async throws {
        let flags = files.merging(["tls-listen": ["0.0.0.0:8443"]]) { first, _ in first }
        let found = await mistakes(flags: flags)
        #expect(found.count == 1 && found[0].hasPrefix("tls-listen (--tls-listen): 0.0.0.0:8443 can be reached"))
        let open = try await read(flags: flags.merging(["allow-anonymous": ["true"]]) { first, _ in first })
        #expect(open.settings.tlsListen?.isLoopback == false)
    }

    @Test func `what means nothing without an address is a warning`() async throws {
        let loaded = try await read(flags: files)
        #expect(
            loaded.warnings == [
                "tls-certificate (--tls-certificate): means nothing without tls-listen",
                "tls-key (--tls-key): means nothing without tls-listen",
            ])
    }
}
