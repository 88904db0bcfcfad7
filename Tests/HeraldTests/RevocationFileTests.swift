import Foundation
import Testing

@testable import Herald

@Suite struct RevocationFileTests {
    private let files: TestFiles

    init() throws { files = try TestFiles() }

    private var path: String { files.folder + "revocations" }
    private var file: RevocationFile { RevocationFile(path) }
    private var text: String { get throws { try String(contentsOfFile: path, encoding: .utf8) } }

    private func entry(_ target: Revocations.Target, issuedUntil: Int64 = 100, keptUntil: Int64 = 200)
        -> Revocations.Entry
    {
        Revocations.Entry(target: target, issuedUntil: issuedUntil, keptUntil: keptUntil)
    }

    /// What is wrong with a file of these bytes; nil when nothing is.
    private func fault(_ bytes: some Sequence<UInt8>) throws -> String? {
        try files.write("revocations", bytes)
        do {
            _ = try file.load(at: 100)
            return nil
        } catch {
            return error.what
        }
    }

    @Test func `a file that is not there yet is made, empty`() throws {
        #expect(try file.load(at: 100).isEmpty)
        #expect(try text.isEmpty)
    }

    @Test func `what was appended is on disk at once, and read again`() throws {
        let file = file
        #expect(try file.load(at: 100).isEmpty)
        try file.append(entry(.token("1")))
        #expect(try text == "{\"jti\":\"1\",\"until\":200}\n")
        try file.append(entry(.subject("alice")))
        #expect(try text.hasSuffix("}\n{\"sub\":\"alice\",\"before\":100,\"until\":200}\n"))
        let read = try self.file.load(at: 100)
        #expect(read == [entry(.token("1"), issuedUntil: 0), entry(.subject("alice"))])
    }

    @Test(arguments: ["\"", "\\", "a\nb", "\r\n", "\u{0}", "a\u{0}b", "ü\u{1F600}\u{2028}\u{202E}", " ", "{\"jti\":1}"])
    func `any name comes back as it was`(name: String) throws {
        let entries = [entry(.token(name), issuedUntil: 0), entry(.subject(name))]
        for entry in entries { try file.append(entry) }
        #expect(try text.filter { $0 == "\n" }.count == 2, "a line each")
        // The second time it is the rewritten file that is read.
        for _ in 0..<2 { #expect(try file.load(at: 100) == entries) }
    }

    @Test func `what has lapsed is dropped, and from the file, too`() throws {
        try file.append(entry(.token("old"), keptUntil: 150))
        try file.append(entry(.token("new"), keptUntil: 151))
        #expect(try file.load(at: 149).count == 2)
        #expect(try file.load(at: 150).map(\.target) == [.token("new")])
        #expect(try text == "{\"jti\":\"new\",\"until\":151}\n")
    }

    @Test(arguments: ["{", "{\"jti\":\"2\",\"until\":200}", "junk", "\u{0}\u{0}"])
    func `a last line that was cut off is dropped`(rest: String) throws {
        let whole = "{\"jti\":\"1\",\"until\":200}\n"
        try files.write("revocations", whole + rest)
        #expect(try file.load(at: 100).map(\.target) == [.token("1")])
        #expect(try text == whole, "what is appended next stands on a line of its own")
        try file.append(entry(.token("3")))
        #expect(try file.load(at: 100).map(\.target) == [.token("1"), .token("3")])
    }

    @Test(arguments: [
        "junk", "{}", "[]", "{\"jti\":\"2\"}", "{\"until\":200}", "{\"jti\":2,\"until\":200}",
        "{\"sub\":\"a\",\"until\":200}",
        "{\"jti\":\"2\",\"until\":\"200\"}", "{\"jti\":\"2\",\"until\":2e2}", "{\"jti\":\"2\",\"until\":200} x",
        "{\"sub\":\"a\",\"before\":1.5,\"until\":200}", "{\"jti\":\"2\",\"until\":99999999999999999999}",
        "{\"jti\":\"2\",\"jti\":\"3\",\"until\":200}", "{\"jti\":\"2\",\"until\":200", " ",
    ])
    func `any other line that is none is refused with its number`(line: String) throws {
        let whole = "{\"jti\":\"1\",\"until\":200}\n\n"
        let text = whole + line + "\n{\"jti\":\"4\",\"until\":200}\n"
        #expect(try fault(text.utf8) == "line 3 is no revocation")
        #expect(try self.text == text, "nothing is changed")
    }

    @Test func `bytes that are no text are refused`() throws {
        #expect(try fault(Array("{\"jti\":\"".utf8) + [0xFF] + Array("\",\"until\":200}\n".utf8)) != nil)
    }

    @Test func `a folder is no file`() throws {
        let fault = #expect(throws: RevocationFile.Fault.self) { try RevocationFile(files.folder).load(at: 100) }
        #expect(fault?.what == "it can't be read")
    }

    @Test func `a folder that is not there is named by the call that failed`() throws {
        for name in ["nowhere/revocations", "file/revocations"] {
            try files.write("file", "")
            let fault = #expect(throws: RevocationFile.Fault.self) {
                try RevocationFile(files.folder + name).load(at: 100)
            }
            #expect(fault?.what.hasPrefix("open: ") == true, "\(fault?.what ?? "")")
        }
    }

    @Test func `what cannot be written is said`() {
        let full = RevocationFile("/dev/full")
        let fault = #expect(throws: RevocationFile.Fault.self) { try full.append(entry(.token("1"))) }
        #expect(fault?.what.hasPrefix("write: ") == true, "\(fault?.what ?? "")")
    }

    @Test func `the file is its owner's alone`() throws {
        func mode() throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        }
        try file.append(entry(.token("1")))
        #expect(try mode() == 0o600)
        try FileManager.default.removeItem(atPath: path)
        _ = try file.load(at: 100)
        #expect(try mode() == 0o600)
    }

    @Test func `threads that append at once leave whole lines`() async throws {
        let file = file
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    for number in 0..<10 {
                        let target = Revocations.Target.token("\(worker)-\(number)")
                        try file.append(Revocations.Entry(target: target, issuedUntil: 0, keptUntil: 200))
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(Set(try file.load(at: 100).map(\.target)).count == 40)
    }
}
