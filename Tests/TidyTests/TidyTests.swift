import Testing

/// The rules of form that no compiler checks. Each failure names the file and the line.
@Suite struct TidyTests {
    // MARK: Floors

    @Test func `includes of C point down the floors`() {
        var owners: [String: String] = [:]
        for header in SourceTree.publicHeaders { owners[header.fileName] = header.target }
        for file in SourceTree.core {
            for (line, name, isSystem) in file.includes {
                let place = "\(file.path):\(line)"
                if isSystem {
                    let allowed = Floors.system[name]
                    #expect(allowed?.contains(file.target) ?? true, "\(place) includes <\(name)>")
                } else if let owner = owners[name], owner != file.target {
                    #expect(Floors.core[file.target]?.contains(owner) == true, "\(place) includes \(name) of \(owner)")
                    #expect(name == "\(owner).h", "\(place) includes \(name); another module's header is its umbrella")
                } else if owners[name] == nil {
                    #expect(
                        SourceTree.exists("CModules/\(file.target)/\(name)"),
                        "\(place) includes \(name), which is not of its module")
                }
            }
        }
    }

    @Test func `imports of Swift point down the floors, and HeraldCore alone imports C`() {
        for file in SourceTree.swift {
            let allowed = (Floors.swift[file.target] ?? []).union(Floors.packages[file.target] ?? [])
                .union(Floors.standard)
            for (line, module) in file.imports {
                #expect(allowed.contains(module), "\(file.path):\(line) imports \(module)")
            }
        }
    }

    @Test func `every target has its floor and its page`() {
        let systems: Set = ["CLibuv", "CLiburing", "COpenSSL", "CNghttp2", "CZlib"]
        for target in Set(SourceTree.core.map(\.target)).subtracting(systems) {
            #expect(Floors.core[target] != nil, "\(target) has no floor")
            #expect(SourceTree.exists("CModules/\(target)/README.md"), "\(target) has no README.md")
        }
        for target in Set(SourceTree.swift.map(\.target)) {
            #expect(Floors.swift[target] != nil, "\(target) has no floor")
            #expect(SourceTree.exists("Sources/\(target)/README.md"), "\(target) has no README.md")
        }
    }

    // MARK: Sizes

    @Test func `a public header is a page or two`() {
        for header in SourceTree.publicHeaders {
            #expect(header.lines.count <= 200, "\(header.path) has \(header.lines.count) lines")
            for (number, line) in header.lines.enumerated() {
                #expect(line.count <= 150, "\(header.path):\(number + 1) has \(line.count) characters")
            }
        }
    }

    @Test func `a file has at most 600 lines`() {
        for file in SourceTree.all {
            #expect(file.lines.count <= 600, "\(file.path) has \(file.lines.count) lines")
        }
    }

    @Test func `a function has at most 60 lines`() {
        for file in SourceTree.core + SourceTree.swift {
            for function in FunctionLengths.all(in: file) {
                let place = "\(file.path):\(function.line)"
                #expect(function.length <= 60, "\(place) has \(function.length) lines: \(function.name)")
            }
        }
    }

    @Test func `functions are found by this reader of form`() {
        let swift = SourceFile(
            path: "Sources/X/x.swift",
            text: """
                protocol P { func none() }
                func one(
                    a: Int
                ) -> Int {
                    if a > 0 { return "}".count }
                    return 0
                }
                var two: Int {
                    2
                }
                """)
        #expect(FunctionLengths.all(in: swift).map(\.length) == [6, 3])
        let c = SourceFile(
            path: "CModules/X/x.c",
            text: "int prototype(void);\nstatic int one(int a,\n               int b) {\n    return '{'; /* } */\n}\n")
        #expect(FunctionLengths.all(in: c).map(\.length) == [4])
    }

    // MARK: Words

    @Test(arguments: ["strcpy", "strcat", "sprintf", "vsprintf", "gets", "strtok", "alloca", "system", "atoi"])
    func `a banned function is not called`(name: String) {
        for file in SourceTree.core {
            for (line, text) in file.codeLines where text.calls(name) {
                Issue.record("\(file.path):\(line) calls \(name)")
            }
        }
    }

    @Test func `Swift does not crash on what it did not expect`() {
        for file in SourceTree.swift {
            for (line, text) in file.codeLines where text.unwrapsByForce {
                Issue.record("\(file.path):\(line) unwraps, casts or tries by force: \(text.trimmed)")
            }
        }
    }

    @Test func `nothing is left for later`() {
        // In two halves, so that this file does not find itself.
        let words = ["TO" + "DO", "FIX" + "ME"]
        for file in SourceTree.all {
            for (number, line) in file.lines.enumerated() where words.contains(where: line.contains) {
                Issue.record("\(file.path):\(number + 1) leaves something for later")
            }
        }
    }

    @Test func `only HeraldCore says itself what may cross threads, and says why`() {
        let words = "@unchecked Sendable"
        for file in SourceTree.swift {
            for (line, text) in file.codeLines where text.contains(words) {
                #expect(file.target == "HeraldCore", "\(file.path):\(line) is \(words)")
                let above = file.lines[..<(line - 1)].suffix(8)
                #expect(above.contains { $0.contains("`@unchecked`") }, "\(file.path):\(line) gives no reason")
            }
        }
    }
}

extension SourceFile {
    /// The last part of the path.
    var fileName: String { path.split(separator: "/").last.map(String.init) ?? path }

    /// The code's lines with their numbers, from 1.
    var codeLines: [(line: Int, text: String)] {
        code.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
            .map { (line: $0.offset + 1, text: String($0.element)) }
    }

    /// What a C file includes.
    var includes: [(line: Int, name: String, isSystem: Bool)] {
        lines.enumerated().compactMap { number, line in
            guard line.hasPrefix("#include ") else { return nil }
            let name = line.dropFirst(9).prefix { $0 != " " }
            return (line: number + 1, name: String(name.dropFirst().dropLast()), isSystem: name.hasPrefix("<"))
        }
    }

    /// What a Swift file imports, submodules by their module.
    var imports: [(line: Int, module: String)] {
        lines.enumerated().compactMap { number, line in
            let words = line.split(separator: " ").drop { $0.hasPrefix("@") || Self.accessLevels.contains(String($0)) }
            guard words.first == "import", let module = words.last?.split(separator: ".").first else { return nil }
            return (line: number + 1, module: String(module))
        }
    }

    private static let accessLevels: Set<String> = ["public", "package", "internal", "fileprivate", "private"]
}

extension String {
    /// Whether the code calls a function.
    func calls(_ name: String) -> Bool {
        var rest = self[...]
        while let found = rest.firstRange(of: name) {
            let before = rest[..<found.lowerBound].last
            let after = rest[found.upperBound...].drop { $0 == " " }.first
            let isWhole = before.map { !$0.isLetter && !$0.isNumber && $0 != "_" } ?? true
            if isWhole, after == "(" { return true }
            rest = rest[found.upperBound...]
        }
        return false
    }

    /// Whether the code has an exclamation mark after a value, `as` or `try`.
    var unwrapsByForce: Bool {
        let characters = Array(self)
        return characters.indices.dropFirst().contains { index in
            let before = characters[index - 1]
            let after = index + 1 < characters.count ? characters[index + 1] : " "
            return characters[index] == "!" && after != "="
                && (before.isLetter || before.isNumber || [")", "]", "}", "_", "?"].contains(before))
        }
    }
}
