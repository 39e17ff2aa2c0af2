"""Every vision transformer that timm and transformers list, shrunk to two blocks: read by us, it gives the features
that its own code gives, or it is refused. Never others.

Each is written as its hub's folder is (weights and config.json) and as a bare file whose number of heads is told.
The table of the outcomes stands in docs/checkpoints.md; run with --write FILE to put it there.
"""

import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import safetensors.torch
import timm
import torch
import transformers

TOLERANCE = 1e-4
WIDTH, DEPTH, HEADS = 64, 2, 4
VIT_OUTPUTS = 'tools/consumers/vit_outputs'
DOCUMENT = 'docs/checkpoints.md'
BEGIN, END = '<!-- sweep -->', '<!-- /sweep -->'

# The files of timm that hold vision transformers: one stem, one width, all blocks alike.
TIMM_MODULES = ('vision_transformer', 'deit', 'beit', 'eva', 'vision_transformer_relpos', 'vision_transformer_hybrid',
                'vision_transformer_sam')


def shake(model, seed=0):
    """Every parameter away from what initialisation leaves: scales near 1, everything else random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() <= 1 or 'gamma' in name or 'lambda' in name:
                scale = name.endswith('weight') or 'gamma' in name or 'lambda' in name
                parameter.copy_((1.0 if scale else 0.0) + 0.3 * noise)
            elif parameter.dim() == 3 or 'token' in name or 'table' in name:
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(noise * 1.5 / parameter[0].numel() ** 0.5)
    return model.eval()


class Candidate:
    """A model, the folder that its file is in, and what its own code makes of an image."""

    def __init__(self, name, path, heads, size, features):
        self.name, self.path, self.heads, self.size, self.features = name, path, heads, size, features


def timm_names():
    return [name for name in timm.list_models()
            if timm.models.model_entrypoint(name).__module__.split('.')[-1] in TIMM_MODULES]


def timm_model(name):
    """The architecture at a width of 64; where that does not fit it, at the least of its own that does."""
    for options in (dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS), dict(embed_dim=2 * WIDTH, depth=DEPTH,
                                                                             num_heads=HEADS)):
        try:
            return timm.create_model(name, num_classes=0, **options), options
        except (AssertionError, RuntimeError, TypeError, ValueError, KeyError, AttributeError):
            continue
    return None, None


def timm_features(model):
    def features(images):
        with torch.no_grad():
            tokens = model.forward_features(images)
            # Without [CLS] the pool by a learned token takes its place.
            pooled = model.pool(tokens) if getattr(model, 'attn_pool', None) is not None else None
        if 'norm.weight' not in model.state_dict() and 'fc_norm.weight' in model.state_dict():
            # Of a model that is pooled before its norm we normalise the tokens plainly. Others have no norm at all.
            tokens = torch.nn.functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
        prefix = model.num_prefix_tokens
        first = tokens[:, 0] if getattr(model, 'cls_token', None) is not None else pooled
        return first, tokens[:, prefix:].mean(1)
    return features


def timm_candidates(folder):
    for name in timm_names():
        model, options = timm_model(name)
        if model is None:
            yield Candidate(f'{name}', None, 0, 0, None)
            continue
        shake(model)
        size = model.pretrained_cfg['input_size'][-1]
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        hub, bare = f'{folder}/{name}', f'{folder}/{name}.pth'
        os.makedirs(hub)
        safetensors.torch.save_file(state, f'{hub}/model.safetensors', metadata={'format': 'pt'})
        cfg = model.pretrained_cfg
        with open(f'{hub}/config.json', 'w') as file:
            json.dump({'architecture': name, 'num_classes': 0, 'num_features': options['embed_dim'],
                       'model_args': options,
                       'pretrained_cfg': {'input_size': list(cfg['input_size']), 'mean': list(cfg['mean']),
                                          'std': list(cfg['std'])}}, file)
        torch.save(state, bare)
        for path, heads in ((hub, 0), (bare, HEADS)):
            yield Candidate(name, path, heads, size, timm_features(model))


# Of a configuration; each takes those that it has.
SMALL = dict(hidden_size=WIDTH, embed_dim=WIDTH, num_hidden_layers=DEPTH, num_layers=DEPTH, depth=DEPTH,
             num_attention_heads=HEADS, num_heads=HEADS, intermediate_size=4 * WIDTH, mlp_dim=4 * WIDTH, image_size=64,
             patch_size=16, out_indices=None, out_features=None, backbone_out_indices=[0, 1],
             use_pretrained_backbone=False)


def transformers_types():
    """The model types whose configuration, or the part of it for images, is of a vision transformer."""
    types = []
    for model_type, kind in sorted(transformers.CONFIG_MAPPING.items()):
        fields = getattr(kind, '__dataclass_fields__', None) or kind().to_dict()
        if 'patch_size' in fields and ('hidden_size' in fields or 'embed_dim' in fields) and 'image_size' in fields:
            types.append(model_type)
    return types


def transformers_model(model_type):
    kind = transformers.CONFIG_MAPPING[model_type]
    defaults = kind().to_dict()
    config = kind(**{key: value for key, value in SMALL.items() if key in defaults})
    return transformers.AutoModel.from_config(config)


def transformers_candidates(folder):
    for model_type in transformers_types():
        try:
            model = shake(transformers_model(model_type))
        except Exception:  # What cannot be made small by these numbers is no plain vision transformer.
            continue
        if sum(value.numel() for value in model.parameters()) > 5_000_000:
            continue
        path = f'{folder}/hf_{model_type}'
        try:
            model.save_pretrained(path)
        except Exception:
            continue

        def features(images, model=model):
            with torch.no_grad():
                options = {}
                if model.config.model_type == 'radio':
                    # These images are normalised ones.
                    model.input_conditioner = torch.nn.Identity()
                if model.config.model_type == 'vit_mae':
                    # Nothing masked, nothing shuffled.
                    model.config.mask_ratio = 0.0
                    options['noise'] = torch.arange(16).float().repeat(len(images), 1)
                result = model(pixel_values=images, **options)
                tokens = result.last_hidden_state
                # CLIP's class norms the pooled token alone.
                norm = getattr(getattr(model, 'vision_model', model), 'post_layernorm', None)
                if model.config.model_type == 'clip_vision_model':
                    tokens = norm(tokens)
            pooled = result.pooler_output if model.config.model_type.startswith('siglip') else None
            return tokens, None, pooled
        yield Candidate(f'{model_type} (transformers)', path, 0, 64, features)


def reason_of(message):
    """Of a refusal, without what differs from one model to the next."""
    for flag in ('--family', '--grid', '--heads'):
        if f'{flag}=' in message:
            return f'asks for {flag}'
    if 'no vision transformer of a known family' in message:
        return 'the names are of no known family'
    if ': this is ' in message:
        return 'this is ' + re.sub(r'[(:,].*', '', message.split(': this is ', 1)[1]).strip()
    if 'config.json is of' in message:
        return 'config.json is of a model that is not read'
    parts = [re.sub(r'\d+', '#', name).removesuffix('.weight').removesuffix('.bias') for name in
             re.findall(r'(\S+) is unexpected', message)]
    if parts:
        return 'parts that are not read: ' + ', '.join(sorted(set(parts))[:3])
    return re.sub(r'\d+', '#', message.split(': ', 1)[-1])[:120]


def sweep(candidates, folder, report):
    """{name: {'taken'|'refused: ...'}}; report(name, difference) for each one taken."""
    outcomes = collections.OrderedDict()
    images = {}
    lines, asked = [], []
    for candidate in candidates:
        if candidate.path is None:
            outcomes.setdefault(candidate.name, []).append('not made small')
            continue
        if candidate.size not in images:
            path = f'{folder}/images{candidate.size}.safetensors'
            pictures = torch.randn(2, 3, candidate.size, candidate.size, generator=torch.Generator().manual_seed(1))
            safetensors.torch.save_file({'images': pictures}, path)
            images[candidate.size] = path, pictures
        lines.append('\t'.join([candidate.path, '', str(candidate.heads), images[candidate.size][0],
                                f'{folder}/out{len(lines)}.safetensors']))
        asked.append(candidate)
    with open(f'{folder}/list.txt', 'w') as file:
        file.write('\n'.join(lines) + '\n')
    result = subprocess.run([VIT_OUTPUTS, 'sweep', f'{folder}/list.txt'], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(result.stderr)
    answers = result.stdout.splitlines()
    assert len(answers) == len(asked), (len(answers), len(asked), result.stderr[-2000:])
    for number, (candidate, answer) in enumerate(zip(asked, answers, strict=True)):
        taken, message = answer.split('\t', 1)
        if taken != 'taken':
            outcomes.setdefault(candidate.name, []).append('refused: ' + reason_of(message))
            continue
        family = re.search(r'family (\w+):', message)[1]
        ours = safetensors.torch.load_file(f'{folder}/out{number}.safetensors')
        first, mean, *pooled = candidate.features(images[candidate.size][1])
        if mean is None:  # All tokens, of which the last are the patches.
            mean = first[:, -int(ours['patches'][0]):].mean(1)
            first = pooled[0] if pooled[0] is not None else first[:, 0]
        difference = (ours['patch_mean'] - mean).abs().max().item()
        if first is not None and 'cls' in ours:
            difference = max(difference, (ours['cls'] - first).abs().max().item())
        report(f'{candidate.name} ({os.path.basename(candidate.path)}): {message}', difference)
        outcomes.setdefault(candidate.name, []).append(f'equal, as {family}')
    return outcomes


def table(outcomes):
    groups = collections.OrderedDict()
    for name, found in outcomes.items():
        # With config.json, and without.
        text = found[0] if len(set(found)) == 1 else f'{found[0]}; without config.json {found[-1]}'
        groups.setdefault(text, []).append(name)
    rows = ['| outcome | architectures |', '|---|---|']
    for text, names in sorted(groups.items(), key=lambda item: (not item[0].startswith('equal'), -len(item[1]))):
        rows.append(f'| {text.replace("|", "/")} ({len(names)}) | {", ".join(names)} |')
    return '\n'.join(rows) + '\n'


def run(report):
    with tempfile.TemporaryDirectory() as folder:
        outcomes = sweep(list(timm_candidates(folder)), folder, report)
    with tempfile.TemporaryDirectory() as folder:
        outcomes |= sweep(list(transformers_candidates(folder)), folder, report)
    return outcomes


class SweepTest(unittest.TestCase):

    def test_no_silent_difference(self):
        differences = []
        outcomes = run(lambda name, difference: differences.append((difference, name)))
        self.assertGreater(len(differences), 230)  # 238 architectures with the packages of requirements.txt.
        wrong = [f'{name}: {difference:.3g}' for difference, name in differences if not difference <= TOLERANCE]
        self.assertEqual(wrong, [])
        with open(DOCUMENT) as file:
            text = file.read()
        self.assertEqual(text[text.index(BEGIN) + len(BEGIN) + 1:text.index(END)], table(outcomes),
                         f'{DOCUMENT} is not true any more: see --write in vit_sweep.py')


if __name__ == '__main__':
    transformers.logging.set_verbosity_error()
    if len(sys.argv) == 3 and sys.argv[1] == '--write':
        found = run(lambda name, difference: print(f'{difference:.2g} {name}') if not difference <= TOLERANCE else None)
        with open(sys.argv[2]) as file:
            text = file.read()
        text = text[:text.index(BEGIN) + len(BEGIN) + 1] + table(found) + text[text.index(END):]
        with open(sys.argv[2], 'w') as file:
            file.write(text)
    else:
        unittest.main(verbosity=2)
