# Sourced: environment.sh's Python, with timm (finetune_requirements.txt) added to it once; PYTHON names another Python
# that has torch and timm already.
. benchmarks/peers/environment.sh
if [ -n "$environment" ] && [ ! -e "$environment/complete-finetune" ]; then
  "$PYTHON" -m pip install --no-deps -r benchmarks/peers/finetune_requirements.txt
  touch "$environment/complete-finetune"
fi
